"""The fixtures of the pytest plugin work in anybody's project, each as its documentation says."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

from payplatform import Card, MerchantClient, Money, PayPlatform, PayPlatformError
from payplatform._domain.declines import DeclineCode
from payplatform.banks.simulated import Fault, SimulatedBank
from payplatform.testing import FakeClock, NamedCards, SeededIds

pytest_plugins = ["pytester", "payplatform.testing.plugin"]

SOMEBODYS_TESTS = """
import pytest
from payplatform import Money, OutcomeUnknown
from payplatform.banks.simulated import Fault


def test_a_sale(pay_shop, pay_cards, pay_bank):
    card = pay_shop.payment_methods.create(card=pay_cards.approves)
    payment = pay_shop.payments.charge(
        Money("9.99", "EUR"), payment_method=card.id, idempotency_key="order-1"
    )
    assert payment.status == "captured"
    assert [line.amount for line in pay_bank.statement(pay_shop.id)] == [Money("9.99", "EUR")]


def test_a_lost_reply_is_recovered(pay_sandbox, pay_shop, pay_cards, pay_bank, pay_clock):
    card = pay_shop.payment_methods.create(card=pay_cards.approves)
    pay_bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        pay_shop.payments.charge(
            Money("9.99", "EUR"), payment_method=card.id, idempotency_key="order-1"
        )
    pay_clock.advance(seconds=60)
    assert pay_sandbox.recover().succeeded == 1


def test_a_failure_is_shown(pay_shop):
    assert list(pay_shop.payments.list()) == ["a payment"]
"""


def test_the_fixtures_are_there_as_soon_as_the_extra_is_installed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project of somebody else's, that configures nothing."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    pytester.makepyfile(SOMEBODYS_TESTS)

    result = pytester.runpytest_subprocess("-Werror")

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E*assert *a payment*"])


def test_the_fixtures_are_listed_with_an_example(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)

    shown = pytester.runpytest_subprocess("--fixtures", "-v").stdout.str()

    names = "bank cards clock fault faults keys sandbox shop statement storage world"
    for fixture in (f"pay_{name}" for name in names.split()):
        _, _, after = shown.partition(f"\n{fixture} ")
        assert "Example:" in after.partition("\npay_")[0]


def test_the_plugin_needs_nothing_of_other_extras() -> None:
    program = "import sys, payplatform.testing.plugin; print(*sys.modules)"
    command = [sys.executable, "-I", "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert not {"click", "rich", "hypothesis"} & set(loaded.stdout.split())


def test_everything_shares_one_clock(
    pay_clock: FakeClock, pay_shop: MerchantClient, pay_cards: NamedCards, pay_bank: SimulatedBank
) -> None:
    card = pay_shop.payment_methods.create(card=pay_cards.approves)
    payment = pay_shop.payments.authorize(
        Money("5", "EUR"), payment_method=card.id, idempotency_key="1"
    )
    assert payment.created_at == pay_clock()
    assert payment.expires_at == pay_clock() + timedelta(days=7)

    pay_clock.advance(days=8)
    assert pay_bank.position(pay_shop.id, payment.authorization_id or "").expired == 500


def test_ids_are_the_same_in_each_test_and_on_each_run(pay_shop: MerchantClient) -> None:
    assert pay_shop.id == SeededIds()("mer")


def test_the_sandbox_is_closed_when_the_test_is_over(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    pytester.makepyfile(
        """
        import pytest
        from payplatform import NotAllowed

        kept = []

        def test_one(pay_sandbox, pay_bank):
            kept.extend([pay_sandbox, pay_bank])

        def test_two():
            pay, bank = kept
            with pytest.raises(NotAllowed, match="closed"):
                pay.doctor()
            with pytest.raises(Exception, match="closed"):
                bank.statement()
        """
    )

    pytester.runpytest_subprocess().assert_outcomes(passed=2)


def test_a_contract_that_is_broken_says_what_it_expected(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asserts of the contracts are explained like those of one's own tests."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    pytester.makepyfile(
        """
        from payplatform.storage.memory import MemoryStorage
        from payplatform.testing import StorageContract

        class Forgetful(MemoryStorage):
            def get(self, merchant_id, kind, record_id):
                return None

        class TestForgetful(StorageContract):
            def make_storage(self, folder):
                return Forgetful()
        """
    )

    shown = pytester.runpytest_subprocess("-x", "-Werror")

    shown.assert_outcomes(failed=1, passed=shown.parseoutcomes().get("passed", 0))
    shown.stdout.fnmatch_lines(["E*assert None == *"])


@pytest.mark.parametrize("code", list(DeclineCode))
def test_there_is_a_card_for_every_decline(
    code: DeclineCode, pay_shop: MerchantClient, pay_cards: NamedCards
) -> None:
    card = pay_shop.payment_methods.create(card=pay_cards.declined_as(code))
    payment = pay_shop.payments.charge(
        Money("5", "EUR"), payment_method=card.id, idempotency_key="1"
    )
    assert payment.decline is not None
    assert payment.decline.code is code


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("approves", "captured"),
        ("declines", "generic_decline"),
        ("insufficient_funds", "insufficient_funds"),
        ("lost", "lost_card"),
        ("stolen", "stolen_card"),
        ("expired", "expired_card"),
        ("wrong_security_code", "incorrect_security_code"),
        ("needs_challenge", "requires_action"),
        ("needs_challenge_once", "requires_action"),
        ("declines_after_challenge", "requires_action"),
        ("refunds_later", "captured"),
        ("refunds_fail_later", "captured"),
        ("refuses_refunds", "captured"),
        ("takes_refunds_back", "captured"),
        ("takes_captures_back", "captured"),
        ("loses_request", "outcome_unknown"),
        ("loses_reply", "outcome_unknown"),
        ("answers_late", "outcome_unknown"),
        ("answers_after_recovery", "outcome_unknown"),
        ("contradicts", "generic_decline"),
        ("unreachable", "not_sent"),
        ("approves_half", "outcome_unknown"),
    ],
)
def test_a_card_does_what_its_name_says(
    name: str, outcome: str, pay_shop: MerchantClient, pay_cards: NamedCards
) -> None:
    card: Card = getattr(pay_cards, name)
    assert _charged(pay_shop, card) == outcome


def _charged(shop: MerchantClient, card: Card) -> str:
    method = shop.payment_methods.create(card=card)
    try:
        payment = shop.payments.charge(
            Money("5", "EUR"), payment_method=method.id, security_code="123", idempotency_key="1"
        )
    except PayPlatformError as error:
        return str(error.code)
    return str(payment.decline.code if payment.decline else payment.status)


@pytest.mark.parametrize("brand", ["visa", "mastercard", "amex", "unionpay"])
def test_cards_of_a_brand_are_approved(
    brand: str, pay_shop: MerchantClient, pay_cards: NamedCards
) -> None:
    assert pay_cards.of_brand(brand).brand == brand
    assert pay_shop.payment_methods.create(card=pay_cards.of_brand(brand)).brand == brand


def test_a_card_that_the_table_lacks_is_told_so(pay_cards: NamedCards) -> None:
    with pytest.raises(LookupError):
        pay_cards.declined_as("out_of_luck")
    with pytest.raises(LookupError):
        pay_cards.of_brand("verve")


def test_faults_strike_the_calls_to_come(
    pay_sandbox: PayPlatform,
    pay_shop: MerchantClient,
    pay_cards: NamedCards,
    pay_bank: SimulatedBank,
) -> None:
    pay_bank.next(Fault.DOWN)
    assert _charged(pay_shop, pay_cards.approves) == "not_sent"
    assert pay_bank.statement() == []
    assert pay_sandbox.doctor().ok
