"""Settlement reports as files: read whole, or refused with the line that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from payplatform import ErrorCode, InvalidRequest, Money
from payplatform._domain.settlements import MOST_MINOR, require_sound
from payplatform.banks import settlement_files
from payplatform.banks._settlement_csv import written
from payplatform.banks.settlement_files import read_report
from payplatform.ports import AcquirerFees, SettlementLine, SettlementReport
from payplatform.testing._records import times

DAY = datetime(2026, 3, 1, tzinfo=UTC)
OPERATION = "op_" + "0" * 25 + "1"


def fees(currency: str, *minor: int) -> AcquirerFees:
    interchange, scheme, acquirer = (Money.minor(each, currency) for each in minor)
    return AcquirerFees(interchange=interchange, scheme=scheme, acquirer=acquirer)


def a_line(number: int = 1, amount: str = "19.99", currency: str = "EUR") -> SettlementLine:
    return SettlementLine(
        number=number,
        operation_id=f"op_{number:026d}",
        amount=Money(amount, currency),
        fees=fees(currency, 6, 2, 4),
        booked_at=DAY + timedelta(hours=9),
    )


def a_report(*lines: SettlementLine) -> SettlementReport:
    return SettlementReport(
        reference="settlement 2026-03-01",
        merchant_id="mer_" + "0" * 26,
        since=DAY,
        until=DAY + timedelta(days=1),
        lines=lines,
        digest=b"",
    )


GOOD = written(a_report(a_line(1), a_line(2, "-5")))


def refused(raw: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read_report(raw)
    assert caught.value.code is ErrorCode.REPORT_MALFORMED
    assert caught.value.field == "report"
    return caught.value.message


_currencies = st.sampled_from(["EUR", "JPY", "KWD", "USD"])


@st.composite
def lines(draw: st.DrawFn) -> SettlementLine:
    currency = draw(_currencies)
    # All four together stay within the bound: they are one amount of a statement.
    minor = draw(st.integers(1, MOST_MINOR // 4))
    small = st.integers(0, MOST_MINOR // 4)
    return SettlementLine(
        number=1,
        operation_id=f"op_{draw(st.integers(0, 10**25)):026d}",
        amount=Money.minor(draw(st.sampled_from([minor, -minor])), currency),
        is_reversal=draw(st.booleans()),
        fees=fees(currency, draw(small), draw(small), draw(small)),
        booked_at=draw(times),
    )


@given(several=st.lists(lines(), max_size=4))
def test_what_the_bank_writes_is_what_is_read(several: Sequence[SettlementLine]) -> None:
    """The lines are those of the file: the first two name the report and the columns."""
    placed = [evolve(line, number=at) for at, line in enumerate(several, start=3)]
    report = a_report(*placed)
    raw = written(report)
    assert read_report(raw) == evolve(report, digest=sha256(raw).digest())


def test_the_largest_amount_that_is_read() -> None:
    raw = GOOD.replace(b"19.99", b"10000000000000.00")
    assert read_report(raw).lines[0].amount == Money.minor(MOST_MINOR, "EUR")


def test_a_file_that_is_cut_off_anywhere_is_refused() -> None:
    for end in range(len(GOOD) - 1):
        refused(GOOD[:end])


def test_the_mark_of_an_editor_does_no_harm() -> None:
    assert read_report(b"\xef\xbb\xbf" + GOOD) == read_report(GOOD)


@pytest.mark.parametrize(
    ("what", "instead", "line"),
    [
        ("payplatform-settlement-1", "someones-settlement", 1),
        ("2026-03-01T00:00:00.000000+00:00", "yesterday", 1),
        ("2026-03-01T00:00:00.000000+00:00", "2026-03-01T00:00:00", 1),
        ("2026-03-01T00:00:00.000000+00:00", "2027-03-01T00:00:00+00:00", 1),
        ("settlement 2026-03-01", "", 1),
        ("settlement 2026-03-01", "x" * 101, 1),
        ("settlement 2026-03-01", "a\u202eb", 1),
        ("scheme_fee", "scheme", 2),
        ("capture,", "captured,", 3),
        ("19.99", "-19.99", 3),
        ("19.99", "0.00", 3),
        ("19.99", "", 3),
        ("19.99", "19.999", 3),
        ("19.99", "1e3", 3),
        ("19.99", "19,99", 3),
        ("19.99", "9" * 30, 3),
        ("19.99", "10000000000000.01", 3),
        ("0.06", "10000000000000.01", 3),
        ("19.99", "9" * 100_000, 3),
        ("EUR,19.99", "EUX,19.99", 3),
        ("EUR,19.99", ",19.99", 3),
        ("19.99", "NaN", 3),
        ("19.99", "1" + "0" * 400, 3),
        ("19.99", "\uff11\uff19.99", 3),
        ("EUR,19.99", "E\0R,19.99", 3),
        ("2026-03-01T00:00:00.000000+00:00", "0001-01-01T00:00:00+00:00", 1),
        ("2026-03-02T00:00:00.000000+00:00", "9999-12-31T23:59:59+00:00", 1),
        ("0.06", "-0.06", 3),
        ("0.06", "", 3),
        ("2026-03-01T09:00:00.000000+00:00\nrefund", "0001-01-01T00:00:00+23:59\nrefund", 3),
        ("refund,", "\nrefund,", 4),
        ("refund,", '"refund,', 4),
        ("end,2", "end,3", 5),
        ("end,2\n", "end,2\nend,2\n", 6),
        ("end,2\n", "", 5),
    ],
)
def test_what_is_wrong_is_named_by_its_line(what: str, instead: str, line: int) -> None:
    text = GOOD.decode()
    assert what in text
    said = refused(text.replace(what, instead, 1).encode())
    assert said.startswith(f"line {line} of")


def test_what_stands_in_a_file_is_in_no_error() -> None:
    for what in (b"19.99", b"EUR", b"capture,", b"2026-03-01T09", b"end,2", b"movement"):
        assert "hidden" not in refused(GOOD.replace(what, b"hidden,", 1))


@pytest.mark.parametrize("raw", [b"", b"\n", b"\0" * 99, b"%PDF-1.7", b"end,0\n"])
def test_what_is_no_report_at_all_is_refused(raw: bytes) -> None:
    refused(raw)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_file_in_another_encoding_is_refused(encoding: str) -> None:
    refused(GOOD.decode().encode(encoding))


def test_the_line_that_is_not_utf_8_is_named() -> None:
    said = refused(GOOD.replace(b"capture", b"capt\xfcre", 1))
    assert "line 3 of" in said


def test_a_huge_file_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement_files, "LARGEST", 100)
    assert "at most 100 bytes" in refused(GOOD)


@pytest.mark.parametrize("named", ["", "x", "=1+1", "pay_" + "0" * 26, "4242424242424242"])
def test_what_names_no_operation_of_ours_is_not_kept(named: str) -> None:
    raw = GOOD.replace(a_line().operation_id.encode(), named.encode())  # type: ignore[union-attr]  # it has one
    first, _ = read_report(raw).lines
    assert first.operation_id is None


def test_a_report_whose_name_could_be_a_card_number_is_known_by_another() -> None:
    raw = GOOD.replace(b"settlement 2026-03-01", b"4242424242424242")
    assert read_report(raw).reference.startswith("stl_")


@pytest.mark.parametrize("raw", [GOOD.decode(), None, 7, bytearray(GOOD)])
def test_only_bytes_are_read(raw: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_report(raw)  # type: ignore[arg-type]  # that is what is tested
    assert caught.value.code is ErrorCode.TYPE_INVALID


# -- camt.053 --------------------------------------------------------------------------------------


def camt(report: SettlementReport) -> str:
    """A report as a bank's statement: one entry for each line."""
    entries = "".join(map(_entry, report.lines))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">
<BkToCstmrStmt>
<GrpHdr><MsgId>1</MsgId><CreDtTm>2026-03-02T01:00:00Z</CreDtTm></GrpHdr>
<Stmt>
<Id>{report.reference}</Id>
<FrToDt><FrDtTm>{report.since.isoformat()}</FrDtTm><ToDtTm>{report.until.isoformat()}</ToDtTm></FrToDt>
{entries}</Stmt>
</BkToCstmrStmt>
</Document>
"""


def _entry(line: SettlementLine) -> str:
    net = line.amount - line.fees.total
    charges = zip(
        ("INTERCHANGE", "SCHEME", "OTHER"),
        (line.fees.interchange, line.fees.scheme, line.fees.acquirer),
        strict=True,
    )
    records = "".join(
        f"<Rcrd>{_amount(money)}<Tp><Prtry><Id>{kind}</Id></Prtry></Tp></Rcrd>"
        for kind, money in charges
    )
    return f"""<Ntry>{_signed(net)}<RvslInd>{str(line.is_reversal).lower()}</RvslInd>
<Sts><Cd>BOOK</Cd></Sts><BookgDt><DtTm>{line.booked_at.isoformat()}</DtTm></BookgDt>
<NtryDtls><TxDtls><Refs><EndToEndId>{line.operation_id}</EndToEndId></Refs>
{_signed(line.amount)}<Chrgs>{records}</Chrgs></TxDtls></NtryDtls></Ntry>
"""


def _signed(money: Money) -> str:
    size = money if money.is_positive else -money
    indicator = "CRDT" if money.is_positive else "DBIT"
    return f"{_amount(size)}<CdtDbtInd>{indicator}</CdtDbtInd>"


def _amount(money: Money) -> str:
    return f'<Amt Ccy="{money.currency}">{Decimal(money.amount)}</Amt>'


XML = camt(a_report(a_line(1), a_line(2, "-5")))


@given(several=st.lists(lines(), max_size=4))
def test_camt_053_says_the_same_as_csv(several: Sequence[SettlementLine]) -> None:
    placed = [
        evolve(line, number=at)
        for at, line in enumerate(several, start=1)
        if (line.amount - line.fees.total).amount_minor
    ]
    placed = [evolve(line, number=at) for at, line in enumerate(placed, start=1)]
    report = a_report(*placed)
    raw = camt(report).encode()
    wanted = evolve(report, merchant_id=None, digest=sha256(raw).digest())
    assert read_report(raw) == wanted


BOMB = '<!DOCTYPE a [<!ENTITY a "a"><!ENTITY b "&a;&a;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("declared", [BOMB, OUTSIDE, "<!DOCTYPE Document>"])
def test_a_document_that_declares_entities_or_a_type_is_refused(declared: str) -> None:
    assert "refused" in refused(XML.replace("<Document", declared + "<Document", 1).encode())


@pytest.mark.parametrize(
    ("what", "instead", "place"),
    [
        ("camt.053.001.08", "camt.054.001.08", "line 1 of"),
        ("</GrpHdr>", "", "line 17 of"),
        ("<Id>settlement 2026-03-01</Id>", "", "the head of"),
        ("<FrDtTm>2026-03-01T00:00:00+00:00", "<FrDtTm>yesterday", "the head of"),
        ('<Amt Ccy="EUR">19.99', '<Amt Ccy="EUR">-19.99', "entry 1, line "),
        ('<Amt Ccy="EUR">19.99', '<Amt Ccy="EUR">', "entry 1, line "),
        ('<Amt Ccy="EUR">19.99', '<Amt Ccy="EUX">19.99', "entry 1, line "),
        ('<Amt Ccy="EUR">19.99', '<Amt Ccy="EUR">20.00', "entry 1, line "),
        ('<Amt Ccy="EUR">0.06', '<Amt Ccy="USD">0.06', "entry 1, line "),
        ("<CdtDbtInd>DBIT", "<CdtDbtInd>BOTH", "entry 2, line "),
        ("<BookgDt>", "<ValDt>", "line 9 of"),
        ("UTF-8", "KLINGON", "line 1 of"),
    ],
)
def test_what_is_wrong_in_a_statement_is_named(what: str, instead: str, place: str) -> None:
    assert what in XML
    assert refused(XML.replace(what, instead, 1).encode()).startswith(place)


def test_a_statement_that_is_cut_off_anywhere_is_refused() -> None:
    raw = XML.strip().encode()
    for end in range(1, len(raw), 7):
        refused(raw[:end])


# -- whatever it is --------------------------------------------------------------------------------


@given(good=st.sampled_from([GOOD, XML.encode()]), data=st.data())
def test_damage_is_refused_in_words_or_read(good: bytes, data: st.DataObject) -> None:
    """Whatever a few bytes of a file are replaced by, nothing else ever comes of it."""
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(start + 40, len(good))))
    piece = data.draw(
        st.binary(max_size=20)
        | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass"))
        | st.sampled_from([b"<Ntry>", b"</Ntry>", b'"', b"\n", b"\0", b"<!DOCTYPE a>", b"&lt;"])
    )
    raw = good[:start] + piece + good[end:]
    try:
        report = read_report(raw)
    except InvalidRequest as error:
        assert error.code is ErrorCode.REPORT_MALFORMED  # noqa: PT017  # either is right
    else:
        require_sound(report)
