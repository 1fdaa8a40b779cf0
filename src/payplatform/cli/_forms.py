"""Values as programs read them: the JSON documents of `--json`.

Law of this file: keys are API, never renamed, and always there; what is not known is null. Money is
`{"amount": "19.99", "currency": "EUR", "minor": 1999}`, a time is ISO 8601 in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import asdict

from payplatform._domain.declines import Decline
from payplatform._domain.disputes import Dispute
from payplatform._domain.events import Event
from payplatform._domain.ledger import Entry
from payplatform._domain.money import Money, as_form
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Payment
from payplatform._domain.payouts import Payout, PayoutPlan
from payplatform._domain.records import Merchant
from payplatform._engine.doctor import DoctorReport
from payplatform._engine.due import DueReport
from payplatform._engine.recovery import RecoveryReport
from payplatform.reports import Figures

Form = dict[str, Any]


def moment(value: datetime | None) -> str | None:
    """A time, ISO 8601 in UTC."""
    return None if value is None else value.astimezone(UTC).isoformat()


def decline(value: Decline | None) -> Form | None:
    """A decline with all that follows from it."""
    if value is None:
        return None
    wait = value.retry_after
    return {
        "code": value.code,
        "kind": value.kind,
        "advice": value.advice,
        "retry_after_s": None if wait is None else int(wait.total_seconds()),
        "message": value.message,
        "customer_message": value.customer_message,
        "bank_code": value.bank_code,
        "advice_code": value.advice_code,
    }


def payment(value: Payment) -> Form:
    """A payment: its facts, what is computed from them, and what may follow."""
    return {
        "id": value.id,
        "status": value.status,
        **{name: as_form(getattr(value, name)) for name in _AMOUNTS},
        "payment_method": value.payment_method_id,
        "customer": value.customer_id,
        "card": {"brand": value.brand, "last4": value.last4, "country": value.card_country},
        "initiated_by": value.initiator,
        "reference": value.reference,
        "metadata": dict(value.metadata),
        "allowed_operations": sorted(value.allowed_operations),
        "open_operations": [o.id for o in value.open_operations],
        "action": value.action
        and {
            "type": value.action.type,
            "url": value.action.url,
            "expires_at": moment(value.action.expires_at),
        },
        "decline": decline(value.decline),
        "version": value.version,
        "created_at": moment(value.created_at),
        "updated_at": moment(value.updated_at),
        "expires_at": moment(value.expires_at),
        "replayed": value.replayed,
    }


_AMOUNTS = (
    *("amount", "authorized", "captured", "voided", "expired", "refunded", "disputed", "fees"),
    *("capturable", "voidable", "refundable"),
)


def event(value: Event) -> Form:
    """An event: what happened, in words too, how the amounts changed, and what they came to."""
    totals = None if value.totals is None else asdict(value.totals, recurse=False)
    return {
        "number": value.number,
        "type": value.type,
        "at": moment(value.at),
        "words": str(value),
        "operation": value.operation_id,
        "amount": None if value.amount is None else as_form(value.amount),
        "changes": {name: as_form(change) for name, change in value.effects},
        "totals": totals and {name: as_form(total) for name, total in totals.items()},
        "details": dict(value.details),
    }


def operation(value: Operation) -> Form:
    """One request to the bank."""
    return {
        "id": value.id,
        "merchant": value.merchant_id,
        "subject": value.subject_id,
        "kind": value.kind,
        "state": value.state,
        "amount": as_form(value.amount),
        "final": value.final,
        "idempotency_key": value.idempotency_key,
        "attempts": value.attempts,
        "bank_reference": value.bank_reference,
        "reason": value.reason,
        "decline": decline(value.decline),
        "created_at": moment(value.created_at),
        "next_try_at": moment(value.next_try_at),
        "known": list(value.known),
        "next_step": value.next_step,
    }


def entry(value: Entry) -> Form:
    """What one event did to the books."""
    return {
        "subject": value.subject_id,
        "event": value.event_number,
        "at": moment(value.at),
        "lines": [
            {
                "account": line.account,
                "amount": as_form(Money.minor(line.amount_minor, line.currency)),
            }
            for line in value.lines
        ],
    }


def figures(value: Figures) -> Form:
    """What was taken, approved and declined, day by day and in all."""
    return {
        "merchant": value.merchant_id,
        "captured": _per_currency(value.captured),
        "refunded": _per_currency(value.refunded),
        "fees": _per_currency(value.fees),
        "approved": value.approved,
        "declined": value.declined,
        "approval_rate": value.approval_rate,
        "declines": dict(value.declines),
        "days": [
            {
                "date": day.date.isoformat(),
                "captured": _per_currency(day.captured),
                "approved": day.approved,
                "declined": day.declined,
                "approval_rate": day.approval_rate,
            }
            for day in value.days
        ],
    }


def _per_currency(amounts: Mapping[str, Money]) -> Form:
    return {currency: as_form(amount) for currency, amount in amounts.items()}


def dispute(value: Dispute) -> Form:
    """A dispute: what is held for it, why, and until when evidence is due."""
    return {
        "id": value.id,
        "payment": value.payment_id,
        "operation": value.operation_id,
        "bank_dispute": value.bank_dispute_id,
        "state": value.state,
        "amount": as_form(value.amount),
        "held": as_form(value.held),
        "reason": value.reason,
        "reason_code": value.reason_code,
        "evidence_due_at": moment(value.evidence_due_at),
        "created_at": moment(value.created_at),
        "updated_at": moment(value.updated_at),
    }


def payout(value: Payout) -> Form:
    """A payout: how much, and where it stands."""
    return {
        "id": value.id,
        "status": value.status,
        "amount": as_form(value.amount),
        "reference": value.reference,
        "operation": value.operation_id,
        "decline": decline(value.decline),
        "created_at": moment(value.created_at),
        "updated_at": moment(value.updated_at),
    }


def payable(plan: PayoutPlan, amount: Money) -> Form:
    """What may be paid out in a currency now, and by which plan."""
    return {
        "currency": plan.currency,
        "payable": as_form(amount),
        "minimum": as_form(plan.minimum),
        "reserve": as_form(plan.reserve),
        "interval": plan.interval,
        "next_at": moment(plan.next_at),
    }


def merchant(value: Merchant) -> Form:
    """A merchant."""
    return {"id": value.id, "name": value.name, "created_at": moment(value.created_at)}


def recovery(value: RecoveryReport) -> Form:
    """What a run of recovery found out."""
    return asdict(value)


def due(value: DueReport) -> Form:
    """What was due, and what came of it."""
    return {
        "recovered": recovery(value.recovered),
        "disputes": asdict(value.disputes),
        "payouts": asdict(value.payouts),
    }


def health(value: DoctorReport) -> Form:
    """What doctor looked at, and every broken rule."""
    return {
        "ok": value.ok,
        "merchants": value.merchants,
        "payments": value.payments,
        "payment_methods": value.payment_methods,
        "customers": value.customers,
        "settlements": value.settlements,
        "archived": value.archived,
        "findings": [{**asdict(found), "cause": found.cause} for found in value.findings],
    }
