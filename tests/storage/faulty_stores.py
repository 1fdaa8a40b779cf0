"""Stores with one planted fault each, and the promise that each of them breaks."""

# ruff: noqa: ARG002  # a faulty store leaves out what it should heed

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve

from payplatform._domain.audit import Chain, ChainHead
from payplatform._domain.disputes import Dispute
from payplatform._domain.notices import Notice
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Payment
from payplatform._domain.payouts import PayoutPlan
from payplatform._domain.records import Customer, Merchant, PaymentMethod
from payplatform.errors import Conflict
from payplatform.ports import EVERY_LINE
from payplatform.storage._chains import bodies, marks_of
from payplatform.storage.memory import MemoryStorage, Undo
from payplatform.testing._records import NOW, a_merchant

T = TypeVar("T", bound=type)

FAULTS: dict[type[MemoryStorage], str] = {}
"""Each faulty store, with the test that must notice it."""


def caught_by(test: str) -> Callable[[T], T]:
    def note(store: T) -> T:
        FAULTS[store] = test
        return store

    return note


# -- what goes in comes out ------------------------------------------------------------------------


@caught_by("test_a_record_comes_back_equal")
class LosesMicroseconds(MemoryStorage):
    def _write(self, record: Any, undo: Undo) -> None:
        if isinstance(record, Customer):
            record = evolve(record, created_at=record.created_at.replace(microsecond=0))
        super()._write(record, undo)


@caught_by("test_the_largest_amounts_come_back_to_the_last_unit")
class LosesLargeAmounts(MemoryStorage):
    def _write(self, record: Any, undo: Undo) -> None:
        if isinstance(record, Payment):
            facts = evolve(record.facts, requested=int(float(record.facts.requested)))
            record = evolve(record, facts=facts)
        super()._write(record, undo)


@caught_by("test_a_later_version_replaces_all_of_the_one_before")
class UpdatesSomeColumns(MemoryStorage):
    def _write(self, record: Any, undo: Undo) -> None:
        stored = self._all(type(record)).get((record.merchant_id, record.id))
        if isinstance(stored, Payment):
            record = evolve(record, metadata=stored.metadata)
        super()._write(record, undo)


@caught_by("test_what_is_told_of_a_subject_comes_back_equal")
class DropsDetails(MemoryStorage):
    def _append(self, event: Any, undo: Undo) -> None:
        super()._append(evolve(event, details=()), undo)


@caught_by("test_that_it_was_a_replay_is_never_stored")
class StoresThatItWasAReplay(MemoryStorage):
    def _keep(self, receipt: Any, undo: Undo) -> None:
        super()._keep(receipt, undo)
        self._receipts[receipt.merchant_id, receipt.operation_id] = receipt.subject


@caught_by("test_what_is_not_there_is_none_or_empty")
class RaisesForWhatIsAbsent(MemoryStorage):
    def receipt(self, merchant_id: str, operation_id: str) -> Any:
        return self._receipts[merchant_id, operation_id]


@caught_by("test_no_fingerprints_match_no_payment_method")
class TakesNoFingerprintsForAny(MemoryStorage):
    def payment_method_with(self, merchant_id: str, customer_id: str, fingerprints: Any) -> Any:
        everything: Any = [method.fingerprint for method in self._all(PaymentMethod).values()]
        return super().payment_method_with(merchant_id, customer_id, fingerprints or everything)


@caught_by("test_a_read_sees_every_commit_before_it_whoever_made_it")
class ReadsFromACache(MemoryStorage):
    def get(self, merchant_id: str, kind: Any, record_id: str) -> Any:
        key = (merchant_id, kind, record_id)
        cache = vars(self).setdefault("cache", {})
        return cache.setdefault(key, super().get(*key))


# -- guards ----------------------------------------------------------------------------------------


@caught_by("test_a_record_whose_version_does_not_follow_is_refused")
class IgnoresGuards(MemoryStorage):
    def _write(self, record: Any, undo: Undo) -> None:
        stored = self._all(type(record)).get((record.merchant_id, record.id))
        version = 1 if stored is None else stored.version + 1
        guard = "epoch" if isinstance(record, Operation) else "version"
        super()._write(evolve(record, **{guard: version}), undo)


@caught_by("test_a_record_whose_version_does_not_follow_is_refused")
class LetsVersionsSkip(MemoryStorage):
    def _write(self, record: Any, undo: Undo) -> None:
        stored = self._all(type(record)).get((record.merchant_id, record.id))
        if stored is not None and record.version > stored.version and hasattr(record, "updated_at"):
            guard = "epoch" if isinstance(record, Operation) else "version"
            record = evolve(record, **{guard: stored.version + 1})
        super()._write(record, undo)


@caught_by("test_a_removed_record_is_gone")
class IgnoresRemovals(MemoryStorage):
    def _remove(self, record: Any, undo: Undo) -> None:
        pass


@caught_by("test_a_removed_record_is_gone")
class RemovesFromGetAlone(MemoryStorage):
    def _remove(self, record: Any, undo: Undo) -> None:
        vars(self).setdefault("gone", set()).add(record.id)

    def get(self, merchant_id: str, kind: Any, record_id: str) -> Any:
        gone = record_id in vars(self).get("gone", ())
        return None if gone else super().get(merchant_id, kind, record_id)


@caught_by("test_a_removed_record_can_be_written_again")
class NeverForgetsAnId(MemoryStorage):
    def _write(self, record: Any, undo: Undo) -> None:
        used = vars(self).setdefault("used", set())
        if record.version == 1 and (type(record), record.id) in used:
            raise Conflict("used before")
        used.add((type(record), record.id))
        super()._write(record, undo)


@caught_by("test_a_removal_is_refused_unless_it_names_the_stored_version")
class RemovesWhateverIsStored(MemoryStorage):
    def _remove(self, record: Any, undo: Undo) -> None:
        stored = self._all(type(record)).get((record.merchant_id, record.id))
        if stored is not None:
            super()._remove(stored, undo)


# -- all or nothing --------------------------------------------------------------------------------


@caught_by("test_a_commit_is_refused_unless_what_it_needs_is_there_as_it_was")
class IgnoresNeeds(MemoryStorage):
    def commit(self, changes: Any) -> None:
        super().commit(evolve(changes, needed=()))


@caught_by("test_what_a_commit_needs_stays_as_it_is")
class UsesUpWhatIsNeeded(MemoryStorage):
    def commit(self, changes: Any) -> None:
        super().commit(evolve(changes, needed=(), removed=changes.removed + changes.needed))


@caught_by("test_what_another_merchant_has_is_not_what_a_commit_needs")
class TakesWhatAnybodyHas(MemoryStorage):
    def _stored(self, record: Any) -> Any:
        for (_, record_id), stored in self._all(type(record)).items():
            if (record_id, stored.version) == (record.id, record.version):
                return stored
        raise Conflict("nobody has it")


@caught_by("test_a_commit_that_is_refused_leaves_nothing")
class CommitsAPart(MemoryStorage):
    def _write(self, record: Any, undo: Undo) -> None:
        with Undo() as kept:
            super()._write(record, kept)
            kept.pop_all()


@caught_by("test_a_commit_that_is_refused_leaves_nothing")
class TellsEventsBeforeTheyHappen(MemoryStorage):
    def commit(self, changes: Any) -> None:
        for event in changes.events:
            place = (event.merchant_id, event.subject_id, event.number)
            self._outbox.setdefault(place, event)
        super().commit(changes)


@caught_by("test_a_commit_that_is_refused_leaves_nothing")
class FreesClaimsTooSoon(MemoryStorage):
    def _release(self, stored: Any, undo: Undo) -> None:
        with Undo() as kept:
            super()._release(stored, kept)
            kept.pop_all()


# -- what is unique --------------------------------------------------------------------------------


@caught_by("test_an_idempotency_key_leads_to_its_operation")
class FindsTheFirstVersionByKey(MemoryStorage):
    def _claim(self, record: Any, undo: Undo) -> None:
        super()._claim(record, undo)
        if isinstance(record, Operation):
            vars(self).setdefault("firsts", {}).setdefault(record.idempotency_key, record)

    def operation_with_key(self, merchant_id: str, idempotency_key: str) -> Any:
        return vars(self).get("firsts", {}).get(idempotency_key)


@caught_by("test_an_idempotency_key_is_claimed_once")
class LetsKeysBeClaimedTwice(MemoryStorage):
    def _claim(self, record: Any, undo: Undo) -> None:
        if not isinstance(record, Operation):
            super()._claim(record, undo)


@caught_by("test_merchants_do_not_share_idempotency_keys")
class SharesKeys(MemoryStorage):
    def _claim(self, record: Any, undo: Undo) -> None:
        super()._claim(record, undo)
        everybodys = [claim for claim in self._claims if claim[0] is Operation]
        if len(everybodys) != len({claim[2] for claim in everybodys}):
            raise Conflict("taken")


@caught_by("test_a_fingerprint_leads_to_the_customers_payment_method")
class LooksAtOneFingerprint(MemoryStorage):
    def payment_method_with(self, merchant_id: str, customer_id: str, fingerprints: Any) -> Any:
        return super().payment_method_with(merchant_id, customer_id, fingerprints[:1])


@caught_by("test_a_fingerprint_leads_to_the_customers_payment_method")
class LooksAtEveryCustomer(MemoryStorage):
    def payment_method_with(self, merchant_id: str, customer_id: str, fingerprints: Any) -> Any:
        methods = self._all(PaymentMethod).values()
        return next((m for m in methods if m.fingerprint in fingerprints), None)


@caught_by("test_a_customer_has_a_fingerprint_once")
class LetsFingerprintsBeTakenTwice(MemoryStorage):
    def _claim(self, record: Any, undo: Undo) -> None:
        if not isinstance(record, PaymentMethod):
            super()._claim(record, undo)


@caught_by("test_customers_and_merchants_do_not_share_fingerprints")
class SharesFingerprints(MemoryStorage):
    def _claim(self, record: Any, undo: Undo) -> None:
        super()._claim(record, undo)
        everybodys = [claim for claim in self._claims if claim[0] is PaymentMethod]
        if len(everybodys) != len({(claim[1], claim[3]) for claim in everybodys}):
            raise Conflict("taken")


@caught_by("test_without_a_customer_or_a_fingerprint_nothing_is_unique")
class TakesNobodyForACustomer(MemoryStorage):
    def _write(self, record: Any, undo: Undo) -> None:
        alike = [
            method
            for method in self._all(PaymentMethod).values()
            if isinstance(record, PaymentMethod)
            and (method.customer_id, method.fingerprint) == (record.customer_id, record.fingerprint)
        ]
        if alike:
            raise Conflict("taken")
        super()._write(record, undo)


@caught_by("test_a_fingerprint_that_is_given_up_is_free_again")
class KeepsFingerprintsTaken(MemoryStorage):
    def _release(self, stored: Any, undo: Undo) -> None:
        if not isinstance(stored, PaymentMethod):
            super()._release(stored, undo)


@caught_by("test_an_event_number_is_taken_once_for_each_subject_and_merchant")
class TakesAnEventTwice(MemoryStorage):
    def _append(self, event: Any, undo: Undo) -> None:
        self._events.get((event.merchant_id, event.subject_id), {}).pop(event.number, None)
        super()._append(event, undo)


@caught_by("test_an_event_number_is_taken_once_for_each_subject_and_merchant")
class NumbersEventsAcrossMerchants(MemoryStorage):
    def _append(self, event: Any, undo: Undo) -> None:
        if any((place[1:]) == (event.subject_id, event.number) for place in self._outbox):
            raise Conflict("taken")
        super()._append(event, undo)


@caught_by("test_a_line_is_posted_once_for_each_event_subject_and_merchant")
class PostsALineTwice(MemoryStorage):
    def _post(self, posting: Any, undo: Undo) -> None:
        book = self._postings.get((posting.merchant_id, posting.subject_id), {})
        book.pop((posting.event_number, posting.line), None)
        super()._post(posting, undo)


# -- merchants apart -------------------------------------------------------------------------------


@caught_by("test_the_same_id_of_two_merchants_is_two_records")
class FindsRecordsOfAnybody(MemoryStorage):
    def get(self, merchant_id: str, kind: Any, record_id: str) -> Any:
        mine = super().get(merchant_id, kind, record_id)
        if kind is Merchant:
            return mine
        anybodys = (r for (_, key), r in self._all(kind).items() if key == record_id)
        return mine or next(anybodys, None)


@caught_by("test_a_merchant_is_its_own_and_nobody_elses")
class ShowsMerchantsToAnybody(MemoryStorage):
    def get(self, merchant_id: str, kind: Any, record_id: str) -> Any:
        owner = record_id if kind is Merchant else merchant_id
        return super().get(owner, kind, record_id)


@caught_by("test_a_page_holds_nothing_of_another_merchant")
class PagesThroughAnybodysRecords(MemoryStorage):
    def _newest_first(self, merchant_id: str, kind: Any, before: str | None) -> Any:
        return iter(sorted(self._all(kind).values(), key=lambda r: r.id, reverse=True))


@caught_by("test_nothing_that_is_told_of_a_subject_is_another_merchants")
class TellsEventsToAnybody(MemoryStorage):
    def events(self, merchant_id: str, subject_id: str) -> Any:
        return [
            e for (_, s), all_ in self._events.items() if s == subject_id for e in all_.values()
        ]


@caught_by("test_nothing_that_is_told_of_a_subject_is_another_merchants")
class TellsReceiptsToAnybody(MemoryStorage):
    def receipt(self, merchant_id: str, operation_id: str) -> Any:
        return next((s for (_, key), s in self._receipts.items() if key == operation_id), None)


@caught_by("test_nothing_that_is_told_of_a_subject_is_another_merchants")
class FindsKeysOfAnybody(MemoryStorage):
    def operation_with_key(self, merchant_id: str, idempotency_key: str) -> Any:
        operations = self._all(Operation).values()
        return next((o for o in operations if o.idempotency_key == idempotency_key), None)


# -- pages -----------------------------------------------------------------------------------------


@caught_by("test_a_page_is_newest_first_and_ends_before")
class PagesOldestFirst(MemoryStorage):
    def _newest_first(self, merchant_id: str, kind: Any, before: str | None) -> Any:
        return reversed(list(super()._newest_first(merchant_id, kind, before)))


@caught_by("test_a_page_is_newest_first_and_ends_before")
class RepeatsTheLastOfThePageBefore(MemoryStorage):
    def _newest_first(self, merchant_id: str, kind: Any, before: str | None) -> Any:
        return super()._newest_first(merchant_id, kind, before and before + " ")


@caught_by("test_what_is_added_or_removed_meanwhile_does_not_disturb_the_walk")
class PagesByOffset(MemoryStorage):
    def page(self, merchant_id: str, kind: Any, *rest: Any, before: Any = None, **more: Any) -> Any:
        offsets = vars(self).setdefault("offsets", {None: 0})
        records = list(self._newest_first(merchant_id, kind, None))[offsets.get(before, 0) :]
        page = records[: more["limit"]]
        if page:
            offsets[page[-1].id] = offsets.get(before, 0) + len(page)
        return page


@caught_by("test_a_walk_gives_each_match_once_and_nothing_else")
class IgnoresAFilter(MemoryStorage):
    def page(self, merchant_id: str, kind: Any, where: Any = None, **rest: Any) -> Any:
        where = evolve(where, metadata=()) if where else where
        return super().page(merchant_id, kind, *([where] if where else []), **rest)


@caught_by("test_a_walk_gives_each_match_once_and_nothing_else")
class FiltersAfterCutting(MemoryStorage):
    def page(self, merchant_id: str, kind: Any, where: Any = None, **rest: Any) -> Any:
        cut = super().page(merchant_id, kind, **rest)
        fits = super().page(merchant_id, kind, *([where] if where else []), **rest)
        return [record for record in cut if record in fits]


@caught_by("test_merchants_are_listed_newest_first")
class ListsMerchantsOldestFirst(MemoryStorage):
    def merchants(self, **rest: Any) -> Any:
        return super().merchants(**rest)[::-1]


# -- what is due -----------------------------------------------------------------------------------


@caught_by("test_operations_of_all_merchants_are_due_longest_due_first")
class IgnoresTheTime(MemoryStorage):
    def due_operations(self, now: Any, *, limit: int) -> Any:
        return super().due_operations(now + timedelta(days=1), limit=limit)


@caught_by("test_operations_of_all_merchants_are_due_longest_due_first")
class CutsBeforeSorting(MemoryStorage):
    def due_operations(self, now: Any, *, limit: int) -> Any:
        some = super().due_operations(now, limit=99)[-limit:]
        return some[:limit]


@caught_by("test_an_operation_is_due_by_its_latest_version")
class RemembersWhatWasDue(MemoryStorage):
    def due_operations(self, now: Any, *, limit: int) -> Any:
        kept = vars(self).setdefault("kept", {})
        kept.update({o.id: o for o in self._all(Operation).values() if o.epoch == 1})
        return [o for o in kept.values() if o.next_try_at and o.next_try_at <= now][:limit]


@caught_by("test_payments_of_all_merchants_lapse_longest_due_first")
class LapsesAMomentLate(MemoryStorage):
    def lapsed_payments(self, now: Any, *, limit: int) -> Any:
        return super().lapsed_payments(now - timedelta(microseconds=1), limit=limit)


@caught_by("test_a_payment_lapses_by_its_latest_version")
class LapsesByExpiryAlone(MemoryStorage):
    def lapsed_payments(self, now: Any, *, limit: int) -> Any:
        payments = self._all(Payment).values()
        return [p for p in payments if p.expires_at and p.expires_at <= now][:limit]


@caught_by("test_notices_of_all_merchants_are_due_longest_due_first")
class LooksAtNoticesNewestFirst(MemoryStorage):
    def due_notices(self, now: Any, *, limit: int) -> Any:
        return list(reversed(super().due_notices(now, limit=99)))[:limit]


@caught_by("test_a_notice_is_due_by_its_latest_version")
class RemembersWhatWaited(MemoryStorage):
    def due_notices(self, now: Any, *, limit: int) -> Any:
        kept = vars(self).setdefault("kept", {})
        kept.update({n.id: n for n in self._all(Notice).values() if n.version == 1})
        due = [n for n in kept.values() if n.next_try_at and n.next_try_at <= now]
        return sorted(due, key=lambda n: (n.next_try_at, n.id))[:limit]


@caught_by("test_disputes_of_all_merchants_are_due_longest_due_first")
class LooksAtDisputesNewestFirst(MemoryStorage):
    def due_disputes(self, now: Any, *, limit: int) -> Any:
        return list(reversed(super().due_disputes(now, limit=99)))[:limit]


@caught_by("test_a_dispute_is_due_by_its_latest_version")
class RemembersWhatWasDisputed(MemoryStorage):
    def due_disputes(self, now: Any, *, limit: int) -> Any:
        kept = vars(self).setdefault("kept", {})
        kept.update({d.id: d for d in self._all(Dispute).values() if d.version == 1})
        due = [d for d in kept.values() if d.next_look_at and d.next_look_at <= now]
        return sorted(due, key=lambda d: (d.next_look_at, d.id))[:limit]


@caught_by("test_payouts_of_all_merchants_are_due_longest_due_first")
class PaysOutNewestFirst(MemoryStorage):
    def due_payouts(self, now: Any, *, limit: int) -> Any:
        return list(reversed(super().due_payouts(now, limit=99)))[:limit]


@caught_by("test_a_payout_is_due_by_the_latest_version_of_its_plan")
class PaysOutByAnOldPlan(MemoryStorage):
    def due_payouts(self, now: Any, *, limit: int) -> Any:
        kept = vars(self).setdefault("kept", {})
        kept.update(
            {(p.merchant_id, p.id): p for p in self._all(PayoutPlan).values() if p.version == 1}
        )
        due = [plan for plan in kept.values() if plan.is_due(now)]
        return sorted(due, key=lambda p: (p.next_at, p.id, p.merchant_id))[:limit]


@caught_by("test_a_dispute_at_the_bank_is_kept_once")
class KeepsADisputeTwice(MemoryStorage):
    def _claim(self, record: Any, undo: Any) -> None:
        if not isinstance(record, Dispute):
            super()._claim(record, undo)

    def _release(self, stored: Any, undo: Any) -> None:
        if not isinstance(stored, Dispute):
            super()._release(stored, undo)


# -- history ---------------------------------------------------------------------------------------


@caught_by("test_events_are_in_the_order_of_their_numbers")
class TellsEventsAsTheyCame(MemoryStorage):
    def events(self, merchant_id: str, subject_id: str) -> Any:
        return list(self._events.get((merchant_id, subject_id), {}).values())


@caught_by("test_events_are_in_the_order_of_their_numbers")
class OrdersNumbersAsText(MemoryStorage):
    def events(self, merchant_id: str, subject_id: str) -> Any:
        return sorted(super().events(merchant_id, subject_id), key=lambda event: str(event.number))


@caught_by("test_the_books_give_each_line_that_matches_once_in_the_order_of_time")
class LeavesOutTheLastMoment(MemoryStorage):
    def ledger(self, merchant_id: str, where: Any = EVERY_LINE, **page: Any) -> Any:
        if where.until is not None:
            where = evolve(where, until=where.until - timedelta(seconds=1))
        return super().ledger(merchant_id, where, **page)


@caught_by("test_the_books_are_in_the_order_of_time_then_of_subject_event_and_line")
class OrdersTheBooksBySubject(MemoryStorage):
    def ledger(self, merchant_id: str, *where: Any, after: Any = None, limit: int) -> Any:
        lines = super().ledger(merchant_id, *where, after=after, limit=limit)
        return sorted(lines, key=lambda line: line.subject_id)


@caught_by("test_totals_are_what_the_lines_until_then_add_up_to")
class LeavesOutTheMomentItself(MemoryStorage):
    def totals(self, merchant_id: str, *, at: Any = None) -> Any:
        before = None if at is None else at - timedelta(microseconds=1)
        return super().totals(merchant_id, at=before)


@caught_by("test_postings_are_in_the_order_of_event_and_line")
class OrdersLinesAsText(MemoryStorage):
    def postings(self, merchant_id: str, payment_id: str) -> Any:
        postings = super().postings(merchant_id, payment_id)
        return sorted(postings, key=lambda posting: f"{posting.event_number} {posting.line}")


@caught_by("test_the_outbox_holds_events_in_the_order_of_their_commits")
class OrdersTheOutboxById(MemoryStorage):
    def outbox(self, *, limit: int) -> Any:
        return sorted(super().outbox(limit=99), key=lambda event: event.id)[:limit]


@caught_by("test_a_published_event_leaves_the_outbox_and_stays_in_history")
class ForgetsWhatIsPublished(MemoryStorage):
    def mark_published(self, event_ids: Any) -> None:
        super().mark_published(event_ids)
        for history in self._events.values():
            for number in [n for n, event in history.items() if event.id in event_ids]:
                del history[number]


@caught_by("test_a_published_event_leaves_the_outbox_and_stays_in_history")
class DropsFromTheOutbox(MemoryStorage):
    def mark_published(self, event_ids: Any) -> None:
        if event_ids:
            last = max(event_ids)
            self._outbox = {k: e for k, e in self._outbox.items() if e.id > last}


@caught_by("test_a_receipt_tells_what_was_told_until_a_later_one_replaces_it")
class KeepsTheFirstReceipt(MemoryStorage):
    def _keep(self, receipt: Any, undo: Undo) -> None:
        if (receipt.merchant_id, receipt.operation_id) not in self._receipts:
            super()._keep(receipt, undo)


@caught_by("test_a_receipt_tells_what_was_told_until_a_later_one_replaces_it")
class TellsTodaysState(MemoryStorage):
    def receipt(self, merchant_id: str, operation_id: str) -> Any:
        told: Any = super().receipt(merchant_id, operation_id)
        return told and (self.get(merchant_id, type(told), told.id) or told)


# -- many at once, and the store itself ------------------------------------------------------------


class WithoutALock(MemoryStorage):
    """Looks, waits, and only then writes: what two threads do between is lost."""

    def __init__(self) -> None:
        super().__init__()
        self._lock: Any = nullcontext()

    def commit(self, changes: Any) -> None:
        trial = MemoryStorage()
        for name, kept in vars(self).items():
            if name != "_lock":
                setattr(trial, name, {k: _copied(v) for k, v in kept.items()})
        trial.commit(changes)
        time.sleep(0.01)
        vars(self).update({name: v for name, v in vars(trial).items() if name != "_lock"})


def _copied(kept: Any) -> Any:
    return kept.copy() if isinstance(kept, dict | list) else kept


@caught_by("test_no_update_is_lost_between_threads")
class LosesUpdates(WithoutALock):
    pass


@caught_by("test_one_of_many_threads_claims_a_key")
class LetsThreadsClaimOneKey(WithoutALock):
    pass


@caught_by("test_what_was_committed_is_there_after_reopening")
class LosesEverything(MemoryStorage):
    def reopened(self, folder: Path) -> MemoryStorage:
        return MemoryStorage()


@caught_by("test_a_survey_gives_every_record_of_all_merchants_once_in_order")
class SurveysOneMerchantAfterAnother(MemoryStorage):
    def survey(self, kind: Any, *, after: Any = ("", ""), limit: int) -> Any:
        return [
            place
            for place in super().survey(kind, limit=99)
            if place.merchant_id >= after[0] and place.record_id > after[1]
        ][:limit]


@caught_by("test_a_count_is_of_the_records_of_all_merchants")
class CountsEverything(MemoryStorage):
    def count(self, kind: Any) -> int:
        return sum(map(len, self._records.values()))


@caught_by("test_a_merchants_count_is_of_its_records_that_match")
class CountsWhatDoesNotMatch(MemoryStorage):
    def count_of(self, merchant_id: str, kind: Any, where: Any = None) -> int:
        return super().count_of(merchant_id, kind)


# -- the audit trail and the chains ----------------------------------------------------------------


@caught_by("test_an_audit_entry_comes_back_equal")
class DropsWhatAnEntryTells(MemoryStorage):
    def _note(self, entry: Any, undo: Undo) -> None:
        super()._note(evolve(entry, origin=None), undo)


@caught_by("test_audit_entries_are_paged_by_id_newest_first_and_each_merchants_alone")
class TellsEntriesAsTheyCame(MemoryStorage):
    def audit_entries(
        self, merchant_id: str, *, before: str | None = None, limit: int
    ) -> Sequence[Any]:
        return [*self._audit.get(merchant_id, {}).values()][::-1][:limit]


@caught_by("test_an_audit_entry_is_written_once")
class LetsAnEntryBeReplaced(MemoryStorage):
    def _note(self, entry: Any, undo: Undo) -> None:
        self._audit.get(entry.merchant_id, {}).pop(entry.id, None)
        super()._note(entry, undo)


@caught_by("test_a_chain_of_nothing_is_sound_and_has_no_link")
class BeginsWithALink(MemoryStorage):
    def _head(self, merchant_id: str, chain: Any) -> ChainHead:
        head = super()._head(merchant_id, chain)
        return head if head.number else ChainHead(number=1, digest="0" * 64)


@caught_by("test_each_commit_moves_the_chains_it_adds_to_by_one_link")
class LinksTheJournalAlone(MemoryStorage):
    def _link(self, merchant_id: str, chain: Any, body: bytes, undo: Undo) -> None:
        if chain is Chain.JOURNAL:
            super()._link(merchant_id, chain, body, undo)


@caught_by("test_another_merchants_commit_moves_no_chain_of_mine")
class LinksEverybodyTogether(MemoryStorage):
    def _link(self, merchant_id: str, chain: Any, body: bytes, undo: Undo) -> None:
        super()._link("everybody", chain, body, undo)

    def _head(self, merchant_id: str, chain: Any) -> ChainHead:
        return super()._head("everybody", chain)


@caught_by("test_a_commit_that_is_refused_moves_no_chain")
class LinksWhatIsRefused(MemoryStorage):
    def commit(self, changes: Any) -> None:
        try:
            super().commit(changes)
        except Conflict:
            for chain, body in bodies(marks_of(changes)):
                self._link(changes.merchant_id, chain, body, Undo())
            raise


@caught_by("test_what_nobody_has_changed_is_sound_by_every_head_it_had")
class KnowsTheLastHeadAlone(MemoryStorage):
    def verify(self, merchant_id: str, chain: Any, expected_head: Any = None) -> Any:
        report = super().verify(merchant_id, chain, expected_head)
        is_last = expected_head in (None, report.head)
        return report if is_last else evolve(report, text="it is another one")


@caught_by("test_all_there_is_of_a_merchant_is_looked_at")
class LooksAtNoReceipts(MemoryStorage):
    def _all_of(self, merchant_id: str) -> Any:
        return evolve(super()._all_of(merchant_id), receipts=())


@caught_by("test_a_head_that_the_chain_never_had_is_reported")
class TakesAnyHead(MemoryStorage):
    def verify(self, merchant_id: str, chain: Any, expected_head: Any = None) -> Any:
        return super().verify(merchant_id, chain)


@caught_by("test_a_sound_store_finds_nothing_wrong_with_itself")
class BlamesItself(MemoryStorage):
    def self_check(self) -> Any:
        return list(self._records)


@caught_by("test_a_second_close_does_nothing")
class ClosesOnlyOnce(MemoryStorage):
    def close(self) -> None:
        vars(self)["closes"] = vars(self).get("closes", 0) + 1
        assert vars(self)["closes"] != 2


@caught_by("test_it_describes_itself_in_words")
class DescribesItselfInNumbers(MemoryStorage):
    def describe(self) -> Any:
        return {"adapter": "memory", "since": a_merchant("m").created_at == NOW}
