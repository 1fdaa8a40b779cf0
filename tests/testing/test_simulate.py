"""The simulator of histories: repeatable to the byte, and able to find what it is there to find."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from attrs import evolve

from payplatform.banks.simulated import Fault
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing.simulate import HONEST_FAULTS, MUTANTS, Mutant, Report, catch, simulate
from payplatform.testing.simulate.__main__ import main
from payplatform.testing.simulate.callers import Caller, Died
from payplatform.testing.simulate.drawing import draw
from payplatform.testing.simulate.mutants import mutant_named
from payplatform.testing.simulate.planting import planted
from payplatform.testing.simulate.play import Outcome, play_in_memory
from payplatform.testing.simulate.running import Stage, cut_down
from payplatform.testing.simulate.shrinking import shrink
from payplatform.testing.simulate.steps import (
    AnswerDispute,
    Crash,
    DecideDispute,
    FollowUp,
    GoOn,
    Hear,
    History,
    OpenDispute,
    Pay,
    PayOut,
    Plan,
    PowerCut,
    Reconcile,
    Recover,
    Repeat,
    Step,
    Trouble,
    Wait,
)
from payplatform.testing.simulate.world import Face

A_SALE = Pay(
    process=0,
    merchant=0,
    verb="charge",
    amount_minor=100,
    currency="EUR",
    card="approves",
    payer="customer",
)


def open_store(folder: Path) -> SQLiteStorage:
    """A store of one's own, as the command line names it."""
    return SQLiteStorage(folder / "mine.db")


def played(*steps: Step) -> Outcome:
    history = History(seed=1, bank="that can everything", merchants=2, steps=steps)
    return play_in_memory(history)


def told(outcome: Outcome) -> list[str]:
    """What callers were told, in order."""
    return [line.partition(": ")[2] for line in outcome.journal if " was told: " in line]


# -- histories that go well ------------------------------------------------------------------------


def test_a_fixed_seed_breaks_no_rule() -> None:
    report = simulate(seed=1, histories=120, jobs=1)

    assert report.failure is None, "\n".join(report.failure.story)
    assert report.violations == 0
    assert report.steps > 120 * 20


def test_a_fresh_seed_breaks_no_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """Another one on every run; what fails is printed with its seed, and can be told again."""
    assert main(["--histories", "120", "--jobs", "1"]) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.startswith("seed ")


def test_a_bank_that_breaks_its_word_breaks_none_of_our_own_rules() -> None:
    report = simulate(seed=3, histories=80, faults=frozenset(Fault), jobs=1)

    assert report.violations == 0
    assert report.excused, "some books could not be compared"


def test_the_same_seed_is_the_same_to_the_byte_on_every_run_store_and_face() -> None:
    faces: tuple[Face, ...] = ("blocking", "async")
    reports = [
        simulate(seed=7, histories=26, storage=storage, jobs=jobs, face=face)
        for storage, jobs, face in (
            ("memory", 1, faces[0]),
            ("memory", 2, faces[0]),
            ("sqlite", 1, faces[0]),
            ("memory", 1, faces[1]),
            (f"{__name__}:open_store", 1, faces[0]),
        )
    ]

    same = [(r.digest, r.steps, r.struck, r.violations) for r in reports]
    assert same == [same[0]] * 5
    assert simulate(seed=8, histories=26, jobs=1).digest != reports[0].digest


def test_a_history_depends_on_its_own_number_alone() -> None:
    assert draw(7, 25) == draw(7, 25)
    assert len({draw(7, number) for number in range(20)}) == 20


def test_every_kind_of_fault_strikes() -> None:
    """Reversals are rare, and what goes wrong with them needs requests that get lost."""
    many = simulate(seed=5, histories=150, faults=frozenset(Fault), jobs=1).struck
    few = {Fault.LOSE_REQUEST, Fault.FORGET_REVERSAL}
    reversals = simulate(seed=5, histories=100, faults=few, jobs=1).struck

    assert {str(fault) for fault in Fault} <= {*many, *reversals}
    assert {"conflict", "busy", "failed", "uncertain_lost", "uncertain_kept"} <= set(many)


def test_without_faults_at_the_bank_none_strikes() -> None:
    report = simulate(seed=5, histories=30, faults=frozenset(), jobs=1)

    assert not set(report.struck) & {str(fault) for fault in Fault}


# -- what a step does ------------------------------------------------------------------------------


def test_a_caller_who_stands_still_is_told_what_became_of_it_meanwhile() -> None:
    outcome = played(
        evolve(A_SALE, trouble=Trouble(stops=(7,))),
        Repeat(process=1, call=0),
        Wait(seconds=61),
        Recover(process=1),
        GoOn(caller=0),
        Repeat(process=0, call=0),
    )

    assert outcome.violation is None
    assert told(outcome)[:4] == [
        "Conflict (operation_in_progress)",
        "done",
        "BankUnavailable (aborted)",
        "BankUnavailable (aborted)",
    ]


def test_a_process_dies_with_the_callers_that_stand_still_in_it() -> None:
    outcome = played(evolve(A_SALE, trouble=Trouble(stops=(8,))), Crash(process=0))

    assert outcome.violation is None
    assert told(outcome)[0] == "Died"
    assert "captured (replayed)" in told(outcome), "the bank had done it"


def test_the_power_fails_for_everybody() -> None:
    asleep = evolve(A_SALE, trouble=Trouble(stops=(2,)))
    outcome = played(asleep, evolve(asleep, process=1), PowerCut(seed=0))

    assert told(outcome)[:2] == ["Died", "Died"]


def test_what_is_sold_is_settled_and_paid_out_once() -> None:
    a_day = Wait(seconds=86_400)
    report = Reconcile(process=0, merchant=0, report=0)
    payout = PayOut(process=0, merchant=0, currency="EUR")
    outcome = played(A_SALE, payout, a_day, payout, report, report, payout, payout)

    assert outcome.violation is None
    nothing = "NotAllowed (amount_below_minimum)"
    assert told(outcome)[:7] == ["captured", nothing, nothing, "done", "done", "paid", nothing]


def test_a_plan_pays_out_what_nobody_asks_for() -> None:
    plan = Plan(process=0, merchant=0, currency="EUR", seconds=60)
    outcome = played(
        A_SALE,
        plan,
        Wait(seconds=86_400),
        Reconcile(process=0, merchant=0, report=0),
        Recover(process=1),
        PayOut(process=0, merchant=0, currency="EUR"),
    )

    assert outcome.violation is None
    assert told(outcome)[4] == "NotAllowed (amount_below_minimum)", "it is paid out already"


def test_a_dispute_is_heard_of_and_answered() -> None:
    answer = AnswerDispute(process=0, dispute=0)
    outcome = played(
        A_SALE,
        OpenDispute(payment=0, amount_minor=60),
        answer,
        Hear(process=0, notice=0, forged=True),
        Hear(process=0, notice=0),
        answer,
        DecideDispute(dispute=0, outcome="won"),
        FollowUp(process=0, payment=0, verb="refund", amount_minor=60),
    )

    assert outcome.violation is None
    assert told(outcome)[:4] == [
        "captured",
        "NotAuthentic (signature_invalid)",
        "done",
        "submitted",
    ]
    assert told(outcome)[4] == "NotAllowed (amount_exceeds_refundable)", "it is held until we hear"


def test_a_stranger_finds_nothing() -> None:
    outcome = played(A_SALE, FollowUp(process=0, payment=0, verb="refund", stranger=True))

    assert outcome.violation is None
    assert told(outcome)[1] == "NotFound (not_found)"


def test_a_step_that_finds_nothing_to_do_does_nothing() -> None:
    outcome = played(
        FollowUp(process=0, payment=0, verb="refund"), Repeat(process=0, call=0), GoOn(caller=0)
    )

    assert outcome.violation is None
    assert outcome.steps == 3


def test_a_caller_stops_where_it_was_told_to() -> None:
    reached: list[int] = []
    caller = Caller(1, lambda: False, lambda: None, Trouble(stops=(2,)))

    def call() -> str:
        for number in range(3):
            caller.meet()
            reached.append(number)
        return "done"

    caller._call = call
    assert not caller.run()
    assert reached == [0]
    assert not caller.go_on(1)
    assert reached == [0, 1]
    assert caller.go_on(None)
    assert caller.told is not None
    assert (caller.told.value, reached) == ("done", [0, 1, 2])


def test_nobody_gets_further_in_a_process_that_is_dead() -> None:
    reached: list[str] = []
    caller = Caller(1, lambda: True, lambda: None, Trouble())

    def call() -> None:
        caller.meet()
        reached.append("a port")

    caller._call = call
    caller.run()
    assert caller.told is not None
    assert isinstance(caller.told.value, Died)
    assert reached == []


# -- histories that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_defect_is_caught(mutant: Mutant) -> None:
    caught = catch(mutant, seed=1, histories=2_500)

    assert caught.histories is not None, mutant.words
    assert "Error(" not in caught.broken, "the defect itself is broken"


def test_a_mutant_leaves_nothing_behind() -> None:
    before = simulate(seed=2, histories=5, jobs=1).digest
    for mutant in MUTANTS:
        with planted(mutant):
            continue

    assert simulate(seed=2, histories=5, jobs=1).digest == before


def failing(name: str) -> int:
    caught = catch(mutant_named(name), seed=1)
    assert caught.histories is not None
    return caught.histories - 1


def test_a_history_that_fails_is_cut_down_to_the_shortest_story() -> None:
    """Nothing is left in it that the defect does not need."""
    name = "rest-not-released"
    number = failing(name)
    with planted(mutant_named(name)):
        failure = cut_down(1, number, Stage(), HONEST_FAULTS)
        assert failure.rule == "books"
        assert [type(step) for step in failure.history.steps] == [Pay, FollowUp]
        for step in failure.history.steps:
            shorter = evolve(failure.history, steps=(step,))
            assert play_in_memory(shorter).violation is None
    story = "\n".join(failure.story)
    assert "process 0: authorize 100 EUR" in story
    assert ": capture" in story or "it asks for capture" in story
    assert "broken: books: " in story


def test_cutting_down_a_history_that_does_not_fail_is_refused() -> None:
    with pytest.raises(ValueError, match="breaks no rule"):
        cut_down(1, 0, Stage(), frozenset())


def test_shrinking_stops_after_so_many_tries() -> None:
    history, tried = draw(1, 1), list[History]()

    def fails(shorter: History) -> bool:
        tried.append(shorter)
        return True

    assert shrink(history, fails, tries=3) == tried[-1]
    assert len(tried) == 3


def test_a_failure_prints_its_seed_and_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with planted(mutant_named("rest-not-released")):
        assert main(["--seed", "1", "--histories", "40", "--jobs", "1"]) == 1
        said = capsys.readouterr().out
        assert "broken: books: " in said
        again = said.splitlines()[-1]
        assert again.startswith("again: python -m payplatform.testing.simulate --seed 1 ")
        assert main(again.split()[4:]) == 1
        assert "broken: books: " in capsys.readouterr().out


# -- the command -----------------------------------------------------------------------------------


def test_the_summary_counts_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "4", "--histories", "20", "--faults", "lose_reply", "down"]) == 0
    said = capsys.readouterr()
    assert said.err == "", "the bar is for a terminal"
    summary = said.out.splitlines()[-1]
    report: Report = simulate(seed=4, histories=20, faults={Fault.LOSE_REPLY, Fault.DOWN}, jobs=1)
    assert summary.startswith(f"20 histories, {report.steps:,} steps, 0 violations, seed 4, ")
    assert f"lose_reply {report.struck['lose_reply']}" in summary
    assert report.digest[:16] in summary


def test_the_command_tells_which_mutants_it_caught(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["payplatform.testing.simulate.__main__"]
    few = tuple(mutant_named(name) for name in ("replay-of-today", "nothing-reserved"))
    monkeypatch.setattr(module, "MUTANTS", few)

    assert main(["--mutants", "--seed", "1", "--histories", "400"]) == 0
    assert capsys.readouterr().out.endswith("2 of 2 mutants caught\n")
    harmless = Mutant(name="harmless", words="nothing is wrong", swaps=())
    monkeypatch.setattr(module, "MUTANTS", (harmless,))
    assert main(["--mutants", "--seed", "1", "--histories", "3"]) == 1
    assert "NOT CAUGHT" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--histories", "0"],
        ["--storage", "nowhere"],
        ["--storage", "payplatform:nothing"],
        ["--faults", "earthquake"],
        ["--seed", "one"],
    ],
)
def test_what_makes_no_sense_is_refused(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(wrong)
    assert refused.value.code == 2
    assert wrong[0] in capsys.readouterr().err
