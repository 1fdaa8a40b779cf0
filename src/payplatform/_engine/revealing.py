"""Shows a card to somebody: the one way out of the vault that does not lead to a bank.

Law of this file: it is refused unless the settings let it be, and what was asked for is on the
audit trail before anybody sees anything, whether it was shown or not (PCI DSS v4.0.1, 10.2.1).
"""

from __future__ import annotations

from payplatform._domain.audit import AuditEntry, AuditKind, Caller
from payplatform._domain.messages import CardDetails
from payplatform._domain.records import PaymentMethod
from payplatform._engine.auditing import Auditing
from payplatform._engine.registry import Registry
from payplatform._engine.vault import Vault
from payplatform.errors import ErrorCode, NotAllowed, NotFound, VaultError


class Revealing:
    """Opens a card for whoever may see it."""

    def __init__(
        self, *, registry: Registry, vault: Vault, auditing: Auditing, is_allowed: bool
    ) -> None:
        self._registry = registry
        self._vault = vault
        self._auditing = auditing
        self._is_allowed = is_allowed

    def reveal(
        self, merchant_id: str, method_id: str, *, caller: Caller, purpose: str
    ) -> CardDetails:
        """The card in clear, once it is on the audit trail who sees it and what for.

        Raises:
            NotFound: there is no such payment method.
            NotAllowed: the settings let nobody see one: `reveal_not_allowed`.
            VaultError: the card could not be opened.
            StorageUnavailable: it could not be stored who sees it, so nobody has.
        """
        said = self._auditing.entry(
            merchant_id, AuditKind.REVEAL, caller, object_id=method_id, purpose=purpose
        )
        with self._auditing.refusals(said):
            if not self._is_allowed:
                raise NotAllowed(
                    "cards are revealed to nobody here: see Settings.may_reveal",
                    code=ErrorCode.REVEAL_NOT_ALLOWED,
                )
            card = self._opened(self._registry.method(merchant_id, method_id), said)
        self._auditing.write(said)
        return card

    def _opened(self, method: PaymentMethod, said: AuditEntry) -> CardDetails:
        try:
            card = self._vault.open_stored(method.merchant_id, method.token, brand=method.brand)
        except VaultError as error:
            self._auditing.note_failure(said, error.code)
            raise
        if card is None:
            raise NotFound("no such payment method", field="payment_method")
        return card
