"""Every currency code of ISO 4217, and how many decimal places its minor unit has.

Law of this file: data only, taken from ISO 4217 list one (currency and funds codes in use) as
published on 2026-01-01 by its maintenance agency, SIX. A test compares it, code by code, with the
list that the `iso4217` package carries; when that test fails, the world has changed: correct here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

_NO_MINOR_UNIT: Final = """
    BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF
"""
_TWO_PLACES: Final = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD
    CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
    GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK
    LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO
    NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS
    SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST
    XAD XCD XCG YER ZAR ZMW ZWG
"""
_THREE_PLACES: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_PLACES: Final = "CLF UYW"

# Metals, testing, units of account: ISO gives them no decimal places, so no amount can be counted.
WITHOUT_EXPONENT: Final = frozenset(
    ["XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX"]
)

EXPONENTS: Final = MappingProxyType(
    {
        code: exponent
        for exponent, codes in (
            (0, _NO_MINOR_UNIT),
            (2, _TWO_PLACES),
            (3, _THREE_PLACES),
            (4, _FOUR_PLACES),
        )
        for code in codes.split()
    }
)
