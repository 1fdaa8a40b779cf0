"""What every limiter must do: the promises of `ports.Limiter`, each as a test.

A limiter proves itself by inheriting this class and saying how one is made:

    class TestMyLimiter(LimiterContract):
        is_shared = True

        def make_limiter(self, folder):
            return MyLimiter(folder / "counts")

Law of this file: a test asks for what the port promises and for nothing else, and its name says the
promise. Time is handed in, so nothing waits. Needs the extra `testing`.
"""

# ruff: noqa: D102  # a test's name says what it shows

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import ClassVar, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payplatform.ports import Limiter, Quota, UsedUp

NOW: Final = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
_AN_INSTANT: Final = timedelta(microseconds=1)
_runs = count()

_Call = tuple[str, str, tuple[str, ...], int]


def quota(counter: str = "c", most: int = 2, period_s: float = 60.0) -> Quota:
    """A quota that is easy to use up."""
    return Quota(counter=counter, most=most, period_s=period_s)


class LimiterContract:
    """Inherit, and override `make_limiter`.

    Attributes:
        is_shared: whether two that are made for one folder count together, and whether what was
            counted is still there once the limiter is closed and made again.
    """

    is_shared: ClassVar[bool] = False

    def make_limiter(self, folder: Path) -> Limiter:
        """A limiter; two for the same folder count together if they can."""
        raise NotImplementedError

    @pytest.fixture
    def limiter(self, tmp_path: Path) -> Iterator[Limiter]:
        limiter = self.make_limiter(tmp_path)
        yield limiter
        limiter.close()

    # -- one counter -------------------------------------------------------------------------------

    def test_as_many_as_there_may_be_are_counted_and_the_next_is_told_when_there_is_room(
        self, limiter: Limiter
    ) -> None:
        assert limiter.take("a", [quota()], NOW) is None
        assert limiter.take("b", [quota()], NOW + 10 * SECOND) is None
        told = limiter.take("c", [quota()], NOW + 20 * SECOND)
        assert told == UsedUp(quota=quota(), room_at=NOW + 60 * SECOND)

    def test_there_is_room_at_the_very_moment_that_was_told_and_not_before(
        self, limiter: Limiter
    ) -> None:
        limiter.take("a", [quota(most=1)], NOW)
        told = limiter.take("b", [quota(most=1)], NOW)
        assert told is not None
        assert limiter.take("b", [quota(most=1)], told.room_at - _AN_INSTANT) == told
        assert limiter.take("b", [quota(most=1)], told.room_at) is None

    def test_what_was_refused_was_not_counted(self, limiter: Limiter) -> None:
        limiter.take("a", [quota(most=1)], NOW)
        for second in range(50):
            limiter.take(f"refused-{second}", [quota(most=1)], NOW + second * SECOND)
        assert limiter.take("b", [quota(most=1)], NOW + 60 * SECOND) is None

    def test_an_attempt_is_counted_once_however_often_it_is_asked_for(
        self, limiter: Limiter
    ) -> None:
        for _ in range(5):
            assert limiter.take("a", [quota()], NOW) is None
        assert limiter.take("b", [quota()], NOW) is None
        assert limiter.take("c", [quota()], NOW) is not None
        assert limiter.take("a", [quota()], NOW) is None

    def test_an_attempt_that_is_asked_for_again_keeps_its_time(self, limiter: Limiter) -> None:
        limiter.take("a", [quota(most=1)], NOW)
        limiter.take("a", [quota(most=1)], NOW + 50 * SECOND)
        assert limiter.take("b", [quota(most=1)], NOW + 60 * SECOND) is None

    def test_an_attempt_whose_time_is_up_is_counted_anew(self, limiter: Limiter) -> None:
        limiter.take("a", [quota(most=1)], NOW)
        limiter.take("b", [quota(most=1)], NOW + 60 * SECOND)
        assert limiter.take("a", [quota(most=1)], NOW + 61 * SECOND) is not None

    def test_a_limit_that_was_lowered_holds_for_what_was_counted_before(
        self, limiter: Limiter
    ) -> None:
        for number in range(4):
            limiter.take(f"a{number}", [quota(most=9)], NOW + number * SECOND)
        told = limiter.take("b", [quota(most=2)], NOW + 10 * SECOND)
        assert told is not None
        assert told.room_at == NOW + 62 * SECOND

    def test_a_clock_that_is_set_back_frees_nothing(self, limiter: Limiter) -> None:
        limiter.take("a", [quota(most=1)], NOW)
        assert limiter.take("b", [quota(most=1)], NOW - 3_600 * SECOND) is not None

    # -- several -----------------------------------------------------------------------------------

    def test_counters_know_nothing_of_each_other(self, limiter: Limiter) -> None:
        limiter.take("a", [quota("one", most=1)], NOW)
        assert limiter.take("a", [quota("two", most=1)], NOW) is None
        assert limiter.take("b", [quota("three", most=1)], NOW) is None

    def test_an_attempt_is_counted_in_all_of_its_counters_or_in_none(
        self, limiter: Limiter
    ) -> None:
        full, free = quota("full", most=1), quota("free", most=1)
        limiter.take("a", [full], NOW)
        for order in ([full, free], [free, full]):
            assert limiter.take("b", order, NOW) == UsedUp(quota=full, room_at=NOW + 60 * SECOND)
        assert limiter.take("c", [free], NOW) is None

    def test_of_several_that_are_used_up_the_one_that_has_room_last_is_told(
        self, limiter: Limiter
    ) -> None:
        soon, late = quota("soon", most=1), quota("late", most=1, period_s=600.0)
        limiter.take("a", [soon, late], NOW)
        for order in ([soon, late], [late, soon]):
            told = limiter.take("b", order, NOW)
            assert told == UsedUp(quota=late, room_at=NOW + 600 * SECOND)

    def test_a_counter_where_the_attempt_is_already_does_not_stand_in_its_way(
        self, limiter: Limiter
    ) -> None:
        limiter.take("a", [quota("one", most=1)], NOW)
        assert limiter.take("a", [quota("one", most=1), quota("two", most=1)], NOW) is None
        assert limiter.take("b", [quota("two", most=1)], NOW) is not None

    # -- giving back -------------------------------------------------------------------------------

    def test_what_is_given_back_makes_room_there_and_nowhere_else(self, limiter: Limiter) -> None:
        one, two = quota("one", most=1), quota("two", most=1)
        limiter.take("a", [one, two], NOW)
        limiter.give_back("a", ["one"])
        assert limiter.take("b", [one], NOW) is None
        assert limiter.take("b", [two], NOW) is not None

    def test_to_give_back_what_is_not_there_does_no_harm(self, limiter: Limiter) -> None:
        limiter.take("a", [quota(most=1)], NOW)
        limiter.give_back("b", ["c", "nobody"])
        limiter.give_back("b", [])
        assert limiter.take("b", [quota(most=1)], NOW) is not None

    # -- many at once ------------------------------------------------------------------------------

    def test_however_many_threads_ask_exactly_as_many_are_counted(self, limiter: Limiter) -> None:
        def ask(number: int) -> bool:
            return limiter.take(f"a{number}", [quota(most=40)], NOW) is None

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(ask, range(160))) == 40

    def test_two_limiters_for_one_place_count_together(
        self, limiter: Limiter, tmp_path: Path
    ) -> None:
        other = self.make_limiter(tmp_path)

        def ask(number: int) -> bool:
            asked = (limiter, other)[number % 2]
            return asked.take(f"a{number}", [quota(most=40)], NOW) is None

        with ThreadPoolExecutor(8) as threads:
            counted = sum(threads.map(ask, range(160)))
        other.close()
        assert counted == (40 if self.is_shared else 80)

    def test_what_was_counted_outlives_the_limiter_where_it_is_shared(
        self, limiter: Limiter, tmp_path: Path
    ) -> None:
        limiter.take("a", [quota(most=1)], NOW)
        limiter.close()
        again = self.make_limiter(tmp_path)
        told = again.take("b", [quota(most=1)], NOW)
        again.close()
        assert (told is not None) is self.is_shared

    # -- and the rest ------------------------------------------------------------------------------

    def test_it_says_what_it_is_and_may_be_closed_twice(self, limiter: Limiter) -> None:
        assert limiter.describe()["adapter"]
        limiter.close()
        limiter.close()

    # Every run counts under names of its own, so that neither what was counted before nor the class
    # it is inherited by matters.
    @settings(
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ]
    )
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["take", "take", "give back"]),
                st.sampled_from("abcdefg"),
                st.sets(st.sampled_from(["x", "y", "z"]), min_size=1).map(sorted).map(tuple),
                st.integers(0, 40),
            ),
            max_size=40,
        )
    )
    def test_it_counts_as_a_list_of_all_that_happened_would(
        self, limiter: Limiter, calls: Sequence[_Call]
    ) -> None:
        run, now = next(_runs), NOW
        model = _Model()
        for what, attempt, counters, seconds in calls:
            now += seconds * SECOND
            quotas = [
                quota(f"{run}-{name}", most, period_s)
                for name, most, period_s in (("x", 1, 30.0), ("y", 2, 90.0), ("z", 3, 50.5))
                if name in counters
            ]
            if what == "take":
                assert limiter.take(attempt, quotas, now) == model.take(attempt, quotas, now)
            else:
                names = [quota.counter for quota in quotas]
                limiter.give_back(attempt, names)
                model.give_back(attempt, names)


class _Model:
    """Keeps everything, forgets nothing, and counts anew each time."""

    def __init__(self) -> None:
        self._taken: list[tuple[str, str, datetime]] = []

    def take(self, attempt: str, quotas: Sequence[Quota], now: datetime) -> UsedUp | None:
        new = [q for q in quotas if attempt not in dict(self._places(q, now))]
        waits = [
            UsedUp(quota=q, room_at=free[len(free) - q.most])
            for q in new
            if len(free := sorted(until for _, until in self._places(q, now))) >= q.most
        ]
        if waits:
            return max(waits, key=lambda used: used.room_at)
        ends = [(q.counter, attempt, now + timedelta(seconds=q.period_s)) for q in new]
        self._taken += ends
        return None

    def give_back(self, attempt: str, counters: Sequence[str]) -> None:
        self._taken = [t for t in self._taken if t[1] != attempt or t[0] not in counters]

    def _places(self, quota: Quota, now: datetime) -> list[tuple[str, datetime]]:
        return [(a, until) for c, a, until in self._taken if c == quota.counter and until > now]
