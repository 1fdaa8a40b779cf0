"""`shop.disputes`: what cardholders dispute, and what the merchant says to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from payplatform._domain.disputes import Dispute, DisputeAnswerKind, DisputeState
from payplatform._domain.text import clean_id, clean_metadata, some_of
from payplatform.client._room import Room, optional_id
from payplatform.client.payments import a_timeout
from payplatform.errors import ErrorCode, InvalidRequest
from payplatform.ports import Filter


class Disputes(Room):
    """The merchant's disputes. They come with the bank's notices: see `pay.notices`."""

    def get(self, dispute_id: str) -> Dispute:
        """Read a dispute.

        Args:
            dispute_id: `dsp_...`.

        Returns:
            The dispute as it is now.

        Raises:
            InvalidRequest: that is no dispute's id.
            NotFound: this merchant has no such dispute.
            StorageUnavailable: the store failed.
        """
        return self._engine.disputes.get(self._merchant_id, _id(dispute_id))

    def list(
        self, *, payment: str | None = None, state: str | Iterable[str] | None = None
    ) -> Iterator[Dispute]:
        """Disputes, newest first, read page by page as you go.

        Args:
            payment: only those of this payment.
            state: only those in this state, or in one of these.

        Returns:
            A lazy iterator.

        Raises:
            InvalidRequest: an argument breaks its rule.
            StorageUnavailable: the store failed, while iterating.
        """
        where = Filter(
            payment_id=optional_id(payment, prefix="pay", field="payment"),
            states=some_of(DisputeState, state, field="state"),
        )
        return self._engine.disputes.list(self._merchant_id, where)

    def submit_evidence(
        self, dispute_id: str, exhibits: Mapping[str, str], *, timeout_s: float | None = None
    ) -> Dispute:
        """Say why the payment is right. A dispute takes one answer; the same again changes nothing.

        Who did so is on the audit trail, as for `accept`.

        Args:
            dispute_id: `dsp_...`, which is `opened`.
            exhibits: at most 50 texts of up to 500 characters under names of up to 40, such as
                `{"tracking_number": "...", "explanation": "..."}`; no card numbers.
            timeout_s: how long the bank may take, in seconds.

        Returns:
            The dispute: `submitted`, once the bank has the evidence.

        Raises:
            InvalidRequest: an argument breaks its rule, or looks like a card number.
            NotFound: this merchant has no such dispute.
            NotAllowed: `dispute_not_open`; `evidence_overdue`; `dispute_answered`: another answer
                is on its way; `dispute_answer_refused`: by the bank; `not_supported_by_bank`.
            OutcomeUnknown: the bank may have it: give the same again, or `run_due()` does.
            StorageUnavailable: the store failed; nothing was sent.
        """
        pairs = clean_metadata(exhibits, field="exhibits")
        if not pairs:
            raise InvalidRequest(
                "exhibits must not be empty", code=ErrorCode.VALUE_INVALID, field="exhibits"
            )
        return self._answer(dispute_id, DisputeAnswerKind.EVIDENCE, pairs, timeout_s)

    def accept(self, dispute_id: str, *, timeout_s: float | None = None) -> Dispute:
        """Let the cardholder have the money: it is lost at once, and nobody decides any more.

        Who did so is on the audit trail: see `pay.merchant(id, actor=...)`.

        Args:
            dispute_id: `dsp_...`, which is `opened`.
            timeout_s: how long the bank may take, in seconds.

        Returns:
            The dispute: `accepted`.

        Raises:
            InvalidRequest: an argument breaks its rule.
            NotFound: this merchant has no such dispute.
            NotAllowed: as for `submit_evidence`, but for the deadline.
            OutcomeUnknown: as for `submit_evidence`.
            StorageUnavailable: the store failed; nothing was sent.
        """
        return self._answer(dispute_id, DisputeAnswerKind.ACCEPTANCE, (), timeout_s)

    def _answer(
        self,
        dispute_id: str,
        kind: DisputeAnswerKind,
        evidence: tuple[tuple[str, str], ...],
        timeout_s: float | None,
    ) -> Dispute:
        return self._engine.disputes.answer(
            self._merchant_id,
            _id(dispute_id),
            kind,
            evidence,
            caller=self._caller,
            timeout_s=a_timeout(timeout_s),
        )


def _id(dispute_id: str) -> str:
    return clean_id(dispute_id, prefix="dsp", field="dispute_id")
