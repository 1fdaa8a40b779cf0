"""Statements as banks really write them: what is booked is read, however it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from payplatform import ErrorCode, InvalidRequest, Money
from payplatform.banks import _camt053
from payplatform.banks.settlement_files import read_report
from payplatform.ports import SettlementLine, SettlementReport

DAY = datetime(2026, 3, 1, tzinfo=UTC)
ONE, TWO = "op_" + "0" * 25 + "1", "op_" + "0" * 25 + "2"
PERIOD = "<FrToDt><FrDtTm>2026-03-01T00:00:00</FrDtTm><ToDtTm>2026-03-01T23:59:59</ToDtTm></FrToDt>"


def statement(*entries: str, head: str = PERIOD, version: str = "08") -> bytes:
    return f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}">
<BkToCstmrStmt><Stmt><Id>S-1</Id>{head}{"".join(entries)}</Stmt></BkToCstmrStmt></Document>""".encode()


def entry(
    amount: str = "19.87",
    details: str = "",
    *,
    status: str = "<Cd>BOOK</Cd>",
    direction: str = "CRDT",
    booked: str = "<Dt>2026-03-01</Dt>",
) -> str:
    return (
        f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd>'
        f"<Sts>{status}</Sts><BookgDt>{booked}</BookgDt><NtryDtls>{details}</NtryDtls></Ntry>"
    )


def details(
    amount: str = "", charges: str = "", *, named: str = f"<EndToEndId>{ONE}</EndToEndId>"
) -> str:
    told = f'<Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>' if amount else ""
    return f"<TxDtls><Refs>{named}</Refs>{told}{charges}</TxDtls>"


def charge(amount: str, kind: str = "SCHEME", more: str = "") -> str:
    return (
        f'<Rcrd><Amt Ccy="EUR">{amount}</Amt>{more}<Tp><Prtry><Id>{kind}</Id></Prtry></Tp></Rcrd>'
    )


def read(*entries: str, head: str = PERIOD, version: str = "08") -> SettlementReport:
    return read_report(statement(*entries, head=head, version=version))


def the_line(*entries: str) -> SettlementLine:
    (line,) = read(*entries).lines
    return line


def refused(*entries: str, head: str = PERIOD) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read(*entries, head=head)
    assert caught.value.code is ErrorCode.REPORT_MALFORMED
    return caught.value.message


@pytest.mark.parametrize("status", ["<Cd>PDNG</Cd>", "PDNG", "INFO", "<Cd>FUTR</Cd>"])
def test_what_is_not_booked_yet_is_left_out(status: str) -> None:
    assert read(entry(status=status)).lines == ()


def test_an_entry_that_does_not_say_whether_it_is_booked_is_refused() -> None:
    assert refused(entry(status="")).startswith("entry 1, line ")


@pytest.mark.parametrize(("version", "status"), [("02", "BOOK"), ("08", "<Cd>BOOK</Cd>")])
def test_the_status_is_read_in_every_version(version: str, status: str) -> None:
    (line,) = read(entry(details=details(), status=status), version=version).lines
    assert (line.operation_id, line.amount) == (ONE, Money("19.87", "EUR"))


@pytest.mark.parametrize("told", ["19.99", "19.87", ""])
def test_an_amount_is_told_before_charges_or_after_or_by_the_entry_alone(told: str) -> None:
    charges = f"<Chrgs>{charge('0.10', 'INTERCHANGE')}{charge('0.02')}</Chrgs>"
    line = the_line(entry("19.87", details(told, charges)))
    assert line.amount == Money("19.99", "EUR")
    assert (line.fees.interchange, line.fees.scheme) == (Money("0.10", "EUR"), Money("0.02", "EUR"))


def test_an_amount_that_is_neither_before_nor_after_charges_is_refused() -> None:
    charges = f"<Chrgs>{charge('0.12')}</Chrgs>"
    assert refused(entry("19.87", details("20.00", charges))).startswith("entry 1, line ")


def test_charges_of_version_02_stand_without_records() -> None:
    charges = '<Chrgs><Amt Ccy="EUR">0.12</Amt></Chrgs>'
    line = the_line(entry("19.87", details("", charges)))
    assert (line.amount, line.fees.acquirer) == (Money("19.99", "EUR"), Money("0.12", "EUR"))


def test_a_charge_that_is_an_entry_of_its_own_is_not_taken_off() -> None:
    charges = f"<Chrgs>{charge('0.12', more='<ChrgInclInd>false</ChrgInclInd>')}</Chrgs>"
    line = the_line(entry("19.99", details("", charges)))
    assert (line.amount, line.fees.total) == (Money("19.99", "EUR"), Money("0.00", "EUR"))


def test_a_charge_that_is_given_back_makes_the_fees_less() -> None:
    charges = f"<Chrgs>{charge('0.12', more='<CdtDbtInd>CRDT</CdtDbtInd>')}</Chrgs>"
    line = the_line(entry("20.11", details("19.99", charges)))
    assert (line.amount, line.fees.scheme) == (Money("19.99", "EUR"), Money("-0.12", "EUR"))


def test_a_batch_is_a_line_for_each_of_its_transactions() -> None:
    both = details("19.99") + details("5.00", named=f"<EndToEndId>{TWO}</EndToEndId>")
    first, second = read(entry("24.99", both)).lines
    assert (first.number, first.operation_id, first.amount) == (1, ONE, Money("19.99", "EUR"))
    assert (second.number, second.operation_id, second.amount) == (2, TWO, Money("5.00", "EUR"))


def test_a_batch_that_does_not_add_up_is_refused() -> None:
    assert refused(entry("25.00", details("19.99") + details("5.00"))).startswith("entry 1, line ")


def test_a_batch_that_does_not_say_what_each_has_moved_is_refused() -> None:
    assert refused(entry("25.00", details() + details())).startswith("entry 1, line ")


@pytest.mark.parametrize(
    "named",
    [
        f"<EndToEndId>NOTPROVIDED</EndToEndId><InstrId>{ONE}</InstrId>",
        f"<InstrId>4711</InstrId><TxId>{ONE}</TxId>",
        f"<TxId> {ONE}\n</TxId>",
    ],
)
def test_our_operation_is_found_wherever_the_bank_has_put_it(named: str) -> None:
    assert the_line(entry(details=details(named=named))).operation_id == ONE


def test_an_entry_without_transactions_is_a_line_that_names_no_operation() -> None:
    line = the_line(entry("5.00", direction="DBIT"))
    assert (line.operation_id, line.amount) == (None, Money("-5.00", "EUR"))


def test_the_last_second_of_a_day_counts() -> None:
    report = read()
    assert (report.since, report.until) == (DAY, DAY + timedelta(days=1))


def test_a_statement_without_a_time_is_about_the_days_of_its_entries() -> None:
    later = entry(booked="<DtTm>2026-03-02T15:00:00+01:00</DtTm>")
    report = read(entry(), later, head="")
    assert (report.since, report.until) == (DAY, DAY + timedelta(days=2))


def test_a_statement_without_a_time_and_entries_is_refused() -> None:
    assert refused(head="").startswith("the head of")


def test_a_day_begins_at_midnight_and_a_time_without_a_zone_is_utc() -> None:
    assert the_line(entry()).booked_at == DAY
    nine = entry(booked="<DtTm>2026-03-01T09:00:00</DtTm>")
    assert the_line(nine).booked_at == DAY + timedelta(hours=9)


@pytest.mark.parametrize(("told", "is_whole"), [(2, True), (1, False), (3, False)])
def test_a_statement_has_as_many_entries_as_it_says(told: int, *, is_whole: bool) -> None:
    count = f"<TxsSummry><TtlNtries><NbOfNtries>{told}</NbOfNtries></TtlNtries></TxsSummry>"
    if is_whole:
        assert len(read(entry(), entry(), head=PERIOD + count).lines) == told
    else:
        assert refused(entry(), entry(), head=PERIOD + count).startswith("the head of")


def test_two_statements_in_one_file_are_refused() -> None:
    raw = statement(entry()).replace(b"</Stmt>", b"</Stmt><Stmt><Id>S-2</Id></Stmt>")
    with pytest.raises(InvalidRequest) as caught:
        read_report(raw)
    assert caught.value.code is ErrorCode.REPORT_MALFORMED


@pytest.mark.parametrize("amount", ["-19.87", "0.00", "", "19.871", "1e3"])
def test_an_amount_is_plain_and_more_than_nothing(amount: str) -> None:
    assert refused(entry(amount)).startswith("entry 1, line ")


def test_an_amount_beyond_all_bounds_is_refused_with_its_place() -> None:
    most = str((2**63 - 1) // 100)
    both = details(most) + details(most, named=f"<EndToEndId>{TWO}</EndToEndId>")
    assert refused(entry(most, both)).startswith("entry 1, line ")


# -- what nobody sends in good faith ---------------------------------------------------------------


@pytest.mark.parametrize("told", ["yes", "TRUE", "0.5", ""])
def test_what_is_neither_true_nor_false_is_refused(told: str) -> None:
    """It says which way the money goes, or whether a charge was taken off."""
    reversal = entry().replace("<Sts>", f"<RvslInd>{told}</RvslInd><Sts>")
    assert refused(reversal).startswith("entry 1, line 2 of")
    charges = f"<Chrgs>{charge('0.12', more=f'<ChrgInclInd>{told}</ChrgInclInd>')}</Chrgs>"
    assert refused(entry("19.99", details("", charges))).startswith("entry 1, line 2 of")


@pytest.mark.parametrize(
    "told",
    [
        "<FrDtTm>0001-01-01T00:00:00</FrDtTm><ToDtTm>2026-03-02T00:00:00</ToDtTm>",
        "<FrDtTm>2026-03-01T00:00:00</FrDtTm><ToDtTm>9999-12-31T23:59:59</ToDtTm>",
        "<FrDtTm>2026-03-01T00:00:00+26:00</FrDtTm><ToDtTm>2026-03-02T00:00:00</ToDtTm>",
    ],
)
def test_a_time_at_the_end_of_all_times_is_refused(told: str) -> None:
    assert refused(entry(), head=f"<FrToDt>{told}</FrToDt>").startswith("the head of")


@pytest.mark.parametrize("booked", ["<Dt>9999-12-31</Dt>", "<Dt>0001-01-01</Dt>"])
def test_an_entry_is_of_some_time_that_a_bank_has_known(booked: str) -> None:
    assert refused(entry(booked=booked), head="").startswith("entry 1, line 2 of")


def test_no_amount_is_larger_than_one_in_csv_may_be() -> None:
    assert the_line(entry("10000000000000.00")).amount == Money("10000000000000", "EUR")
    assert refused(entry("10000000000000.01")).startswith("entry 1, line 2 of")


def test_an_entry_counts_where_entries_stand_and_nowhere_else() -> None:
    """Neither inside another one, nor beside the statement, nor in somebody's own elements."""
    hidden = entry("7.00")
    raw = statement(entry(details=details() + hidden), f"<SplmtryData>{hidden}</SplmtryData>")
    raw = raw.replace(b"<Stmt>", hidden.encode() + b"<Stmt>")
    raw = raw.replace(
        b"</Stmt>", hidden.replace("<Ntry>", '<Ntry xmlns="x">').encode() + b"</Stmt>"
    )
    assert [line.amount for line in read_report(raw).lines] == [Money("19.87", "EUR")]


def test_however_deep_a_document_goes_it_is_read() -> None:
    deep = "<a>" * 100_000 + "</a>" * 100_000
    assert len(read(entry(details=details() + deep)).lines) == 1


def test_an_entry_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is for each: entries and what is not read of them do not add up."""
    monkeypatch.setattr(_camt053, "_MOST_PARTS", 40)
    assert len(read(*[entry(details=details() + "<a/>" * 99)] * 9).lines) == 9
    assert refused(entry(details=details() * 9)).startswith("line 2 of")


@pytest.mark.parametrize("card", ["4242424242424242", "4242 4242 4242 4242"])
def test_a_card_number_in_what_a_payer_has_written_goes_nowhere(card: str) -> None:
    """Into no line, whichever element it stands in, and into no error."""
    words = f"<AddtlNtryInf>{card}</AddtlNtryInf><RmtInf><Ustrd>{card}</Ustrd></RmtInf>"
    named = f"<EndToEndId>{card}</EndToEndId><InstrId>{card}</InstrId>"
    assert card not in repr(read(entry(details=details(named=named) + words)))
    for place in ("19.87", "CRDT", "2026-03-01<", "2026-03-01T00"):
        said = refused(entry().replace(place, card), head=PERIOD.replace(place, card))
        assert card not in said
