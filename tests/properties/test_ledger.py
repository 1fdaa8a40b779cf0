"""The books balance whatever happens to a payment, and say what its facts say."""

from collections import Counter
from datetime import UTC, datetime

from attrs import asdict, fields_dict
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.events import Event
from payplatform._domain.ledger import RULES, Account, Posting, balances, postings_of
from payplatform._domain.payments import NO_CHANGE, Facts, rebuild

AT = datetime(2030, 1, 1, tzinfo=UTC)

# Wide and signed: the law of double entry does not depend on a change making sense.
minor = st.integers(-(2**63), 2**63)
changes = st.builds(Facts, **dict.fromkeys(fields_dict(Facts), minor))
currencies = st.sampled_from(["EUR", "JPY", "KWD"])


@st.composite
def sensible_facts(draw: st.DrawFn) -> Facts:
    """Facts as the invariants allow them."""
    authorized = draw(st.integers(0, 10**6))
    captured = draw(st.integers(0, authorized))
    voided = draw(st.integers(0, authorized - captured))
    expired = draw(st.integers(0, authorized - captured - voided))
    refunded = draw(st.integers(0, captured))
    disputed = draw(st.integers(0, captured - refunded))
    reserved = draw(st.integers(0, captured))
    return Facts(
        requested=authorized,
        authorized=authorized,
        captured=captured,
        voided=voided,
        expired=expired,
        refunded=refunded,
        disputed=disputed,
        fees=draw(st.integers(0, captured)),
        settled=draw(st.integers(-captured, captured)),
        acquirer_fees=draw(st.integers(0, captured)),
        dispute_lost=draw(st.integers(0, disputed)),
        reserved=reserved,
        paid_out=draw(st.integers(0, reserved)),
        suspended=draw(st.integers(0, captured)),
    )


def posted(change: Facts, currency: str, number: int = 1) -> tuple[Posting, ...]:
    event = Event(
        id="evt",
        merchant_id="mer",
        subject_id="pay",
        number=number,
        type="capture.succeeded",
        at=AT,
        change=change,
    )
    return postings_of(event, currency)


def totals(postings: tuple[Posting, ...]) -> dict[Account, int]:
    sums = Counter[Account]()
    for posting in postings:
        sums[posting.account] += posting.amount_minor
    return {account: sums[account] for account in Account}


@given(change=changes, currency=currencies)
def test_the_lines_of_one_change_sum_to_zero_in_its_currency(change: Facts, currency: str) -> None:
    postings = posted(change, currency)

    assert sum(posting.amount_minor for posting in postings) == 0
    assert {posting.currency for posting in postings} <= {currency}


@given(history=st.lists(changes, max_size=8), currency=currencies)
def test_the_books_add_up_to_what_the_facts_say(history: list[Facts], currency: str) -> None:
    lines = tuple(
        line
        for number, change in enumerate(history, start=1)
        for line in posted(change, currency, number)
    )

    assert totals(lines) == balances(rebuild(history))


@given(one=changes, other=changes)
def test_the_books_are_linear(one: Facts, other: Facts) -> None:
    """Two changes show the same booked apart or as one; a change and its undoing show nothing."""
    apart = Counter(balances(one))
    apart.update(balances(other))

    assert dict(apart) == balances(one + other)
    assert balances(one + -one) == balances(NO_CHANGE) == dict.fromkeys(Account, 0)


@given(change=changes)
def test_every_line_moves_something_and_is_numbered_from_one(change: Facts) -> None:
    postings = posted(change, "EUR")

    assert [posting.line for posting in postings] == list(range(1, len(postings) + 1))
    assert all(posting.amount_minor for posting in postings)
    assert len(postings) == 2 * sum(bool(getattr(change, fact)) for fact, *_ in RULES)


@given(change=changes, currency=currencies, number=st.integers(1, 99))
def test_a_line_says_whose_it_is_and_which_event_made_it(
    change: Facts, currency: str, number: int
) -> None:
    for posting in posted(change, currency, number):
        said = asdict(posting, filter=lambda at, _: at.name not in ("account", "amount_minor"))
        assert said == {
            "merchant_id": "mer",
            "subject_id": "pay",
            "event_number": number,
            "line": posting.line,
            "currency": currency,
            "at": AT,
        }


@given(facts=sensible_facts())
def test_each_account_shows_what_it_is_for(facts: Facts) -> None:
    """Said once in words of the trade, since the test above would pass with accounts mixed up."""
    earned = facts.captured - facts.refunded - facts.dispute_lost - facts.fees
    came_in = facts.settled - facts.acquirer_fees + facts.suspended
    assert balances(facts) == {
        Account.ISSUER_HOLDS: facts.uncaptured,
        Account.UNCAPTURED: -facts.uncaptured,
        Account.ACQUIRER_RECEIVABLE: facts.unreturned - facts.settled,
        Account.MERCHANT_BALANCE: facts.reserved - earned,
        Account.FEES: -facts.fees,
        Account.ACQUIRER_FEES: facts.acquirer_fees,
        Account.DISPUTES_HELD: facts.disputed - facts.dispute_lost,
        Account.RESERVES: facts.paid_out - facts.reserved,
        Account.BANK_CASH: came_in - facts.paid_out,
        Account.SUSPENSE: -facts.suspended,
    }


@given(asked=minor)
def test_what_was_only_asked_for_is_not_in_the_books(asked: int) -> None:
    assert posted(Facts(requested=asked), "EUR") == ()
