"""The promises of a bank about what it tells on its own: what it has not signed is not believed.

Law of this file: a message of the sandbox is altered in one place, and has to be refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from payplatform.errors import NotAuthentic
from payplatform.ports import Bank, BankNotice
from payplatform.testing._bank_talk import BankTalk


class BankNotices(BankTalk):
    """Reading of signed messages."""

    def test_a_signed_message_is_read(self, bank: Bank) -> None:
        """As often as it is asked, and whatever the case of its headers' names."""
        raw, headers = self._message(bank)
        capitals = {name.upper(): value for name, value in headers.items()}

        notice = bank.read_notice(raw, headers)

        assert isinstance(notice, BankNotice)
        assert notice.at.utcoffset() is not None
        assert bank.read_notice(raw, capitals) == notice

    def test_a_message_that_was_altered_is_not_read(self, bank: Bank) -> None:
        """Any one byte of it; and one that was cut, or goes on."""
        raw, headers = self._message(bank)
        places = range(0, len(raw), max(1, len(raw) // 50))
        altered = [raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :] for at in places]
        for doctored in (*altered, raw[:-1], raw + b" ", b""):
            with pytest.raises(NotAuthentic):
                bank.read_notice(doctored, headers)

    def test_a_message_without_its_signature_is_not_read(self, bank: Bank) -> None:
        """Nor with that of another message, nor with none of its headers."""
        raw, headers = self._message(bank)
        for name in headers:
            other = {n: v[::-1] if n == name else v for n, v in headers.items()}
            if other != headers:
                with pytest.raises(NotAuthentic):
                    bank.read_notice(raw, other)
        with pytest.raises(NotAuthentic):
            bank.read_notice(raw, {})

    def _message(self, bank: Bank) -> tuple[bytes, Mapping[str, str]]:
        self.need(bank.capabilities.signed_notices, "signed notices")
        message = self.message(bank)
        if message is None:
            pytest.skip("this sandbox sends no messages")
        return message
