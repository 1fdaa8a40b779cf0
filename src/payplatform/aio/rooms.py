"""The rooms of the async face: every verb of the blocking one, to be awaited.

What a verb takes, returns and raises is said where it is defined, in `payplatform.client`. What a
list gives is gone through with `async for`; a mistake in its arguments is told by the first step.
"""

from __future__ import annotations

from payplatform.aio._verbs import AsyncRoom, awaited_verb, streamed_verb
from payplatform.client.audit import Audit, Journal
from payplatform.client.customers import Customers
from payplatform.client.disputes import Disputes
from payplatform.client.ledger import Ledger
from payplatform.client.merchants import Merchants
from payplatform.client.notices import MerchantNotices, Notices
from payplatform.client.operations import Operations
from payplatform.client.payment_methods import PaymentMethods
from payplatform.client.payments import Payments
from payplatform.client.payouts import Payouts
from payplatform.client.platform import Outbox
from payplatform.client.vault import MerchantVault, Vault


class AsyncMerchants(AsyncRoom[Merchants]):
    """`Merchants`, awaited."""

    create = awaited_verb(Merchants.create)
    get = awaited_verb(Merchants.get)
    list = streamed_verb(Merchants.list)
    set_fees = awaited_verb(Merchants.set_fees)
    fees = streamed_verb(Merchants.fees)
    erase = awaited_verb(Merchants.erase)


class AsyncCustomers(AsyncRoom[Customers]):
    """`Customers`, awaited."""

    create = awaited_verb(Customers.create)
    get = awaited_verb(Customers.get)
    update = awaited_verb(Customers.update)
    list = streamed_verb(Customers.list)
    erase = awaited_verb(Customers.erase)


class AsyncPaymentMethods(AsyncRoom[PaymentMethods]):
    """`PaymentMethods`, awaited."""

    create = awaited_verb(PaymentMethods.create)
    get = awaited_verb(PaymentMethods.get)
    list = streamed_verb(PaymentMethods.list)
    set_default = awaited_verb(PaymentMethods.set_default)
    delete = awaited_verb(PaymentMethods.delete)
    reveal = awaited_verb(PaymentMethods.reveal)
    allow_again = awaited_verb(PaymentMethods.allow_again)
    verify = awaited_verb(PaymentMethods.verify)


class AsyncPayments(AsyncRoom[Payments]):
    """`Payments`, awaited."""

    charge = awaited_verb(Payments.charge)
    authorize = awaited_verb(Payments.authorize)
    retry = awaited_verb(Payments.retry)
    resume = awaited_verb(Payments.resume)
    capture = awaited_verb(Payments.capture)
    void = awaited_verb(Payments.void)
    refund = awaited_verb(Payments.refund)
    increment = awaited_verb(Payments.increment)
    get = awaited_verb(Payments.get)
    list = streamed_verb(Payments.list)
    timeline = awaited_verb(Payments.timeline)
    operations = awaited_verb(Payments.operations)


class AsyncOperations(AsyncRoom[Operations]):
    """`Operations`, awaited."""

    get = awaited_verb(Operations.get)
    find = awaited_verb(Operations.find)
    list_unresolved = streamed_verb(Operations.list_unresolved)
    resolve = awaited_verb(Operations.resolve)


class AsyncMerchantNotices(AsyncRoom[MerchantNotices]):
    """`MerchantNotices`, awaited."""

    get = awaited_verb(MerchantNotices.get)
    list = streamed_verb(MerchantNotices.list)


class AsyncNotices(AsyncRoom[Notices]):
    """`Notices`, awaited."""

    receive = awaited_verb(Notices.receive)
    apply = awaited_verb(Notices.apply)


class AsyncDisputes(AsyncRoom[Disputes]):
    """`Disputes`, awaited."""

    get = awaited_verb(Disputes.get)
    list = streamed_verb(Disputes.list)
    submit_evidence = awaited_verb(Disputes.submit_evidence)
    accept = awaited_verb(Disputes.accept)


class AsyncPayouts(AsyncRoom[Payouts]):
    """`Payouts`, awaited."""

    payable = awaited_verb(Payouts.payable)
    create = awaited_verb(Payouts.create)
    sweep = awaited_verb(Payouts.sweep)
    get = awaited_verb(Payouts.get)
    list = streamed_verb(Payouts.list)
    timeline = awaited_verb(Payouts.timeline)
    plan = awaited_verb(Payouts.plan)
    set_plan = awaited_verb(Payouts.set_plan)
    run_due = awaited_verb(Payouts.run_due)


class AsyncLedger(AsyncRoom[Ledger]):
    """`Ledger`, awaited."""

    balance = awaited_verb(Ledger.balance)
    trial_balance = awaited_verb(Ledger.trial_balance)
    entries = streamed_verb(Ledger.entries)
    statement = awaited_verb(Ledger.statement)


class AsyncJournal(AsyncRoom[Journal]):
    """`Journal`, awaited."""

    head = awaited_verb(Journal.head)
    verify = awaited_verb(Journal.verify)


class AsyncAudit(AsyncRoom[Audit]):
    """`Audit`, awaited."""

    head = awaited_verb(Audit.head)
    verify = awaited_verb(Audit.verify)
    entries = streamed_verb(Audit.entries)


class AsyncMerchantVault(AsyncRoom[MerchantVault]):
    """`MerchantVault`, awaited."""

    status = awaited_verb(MerchantVault.status)
    rotate_data_key = awaited_verb(MerchantVault.rotate_data_key)
    rotate_fingerprint_key = awaited_verb(MerchantVault.rotate_fingerprint_key)
    rotate_master_key = awaited_verb(MerchantVault.rotate_master_key)
    run = awaited_verb(MerchantVault.run)
    retire = awaited_verb(MerchantVault.retire)
    export = awaited_verb(MerchantVault.export)
    import_ = awaited_verb(MerchantVault.import_)

    def on_behalf_of(self, actor: str, *, origin: str | None = None) -> AsyncMerchantVault:
        """As `MerchantVault.on_behalf_of`; nothing is awaited."""
        return AsyncMerchantVault(self._room.on_behalf_of(actor, origin=origin), self._threads)


class AsyncVault(AsyncRoom[Vault]):
    """`Vault`, awaited."""

    status = awaited_verb(Vault.status)
    rotate_data_key = awaited_verb(Vault.rotate_data_key)
    rotate_fingerprint_key = awaited_verb(Vault.rotate_fingerprint_key)
    rotate_master_key = awaited_verb(Vault.rotate_master_key)
    run = awaited_verb(Vault.run)
    retire = awaited_verb(Vault.retire)

    def on_behalf_of(self, actor: str, *, origin: str | None = None) -> AsyncVault:
        """As `Vault.on_behalf_of`; nothing is awaited."""
        return AsyncVault(self._room.on_behalf_of(actor, origin=origin), self._threads)


class AsyncOutbox(AsyncRoom[Outbox]):
    """`Outbox`, awaited."""

    pending = awaited_verb(Outbox.pending)
    mark_published = awaited_verb(Outbox.mark_published)
