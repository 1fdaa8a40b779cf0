"""recover, unresolved, resolve and doctor."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
from contextlib import closing, suppress
from io import StringIO
from pathlib import Path

import pytest
from attrs import fields_dict
from command_line import (
    LOSES_REPLY,
    LOSES_REQUEST,
    POOR,
    PROGRAM,
    Shell,
    environment,
    typed,
)
from rich.console import Console

from payplatform import RecoveryReport
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli import _care
from payplatform.client.platform import PayPlatform
from payplatform.errors import StorageBusy


def test_whatever_recovery_reports_has_words() -> None:
    """Each count by itself, so that none is without."""
    for name in fields_dict(RecoveryReport):
        report = RecoveryReport(**{name: 3})

        shown = Console(file=StringIO(), record=True)
        shown.print(_care.recovery_text(report))
        assert "3" in shown.export_text(), name


def test_recover_finds_out_what_became_of_a_lost_reply(shell: Shell) -> None:
    assert "Nothing was due." in shell("recover").out
    shell("charge", "64", "EUR", "--card-stdin", typing=typed(LOSES_REPLY))

    document = shell.json("recover")

    assert document == {
        "examined": 1,
        "succeeded": 1,
        "declined": 0,
        "aborted": 0,
        "needs_review": 0,
        "unresolved": 0,
        "expired": 0,
        "notices": 0,
    }
    assert shell.json("list")["payments"][0]["status"] == "captured"


def test_recover_says_in_words_what_it_found(shell: Shell) -> None:
    shell("charge", "64", "EUR", "--card-stdin", typing=typed(LOSES_REQUEST))

    said = shell("recover")

    assert said.code == 0
    assert "still unclear" in said.out


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_recover_watches_until_it_is_interrupted_and_ends_well(
    shell: Shell, stop: signal.Signals
) -> None:
    shell("charge", "64", "EUR", "--card-stdin", typing=typed(LOSES_REPLY))
    watching = subprocess.Popen(
        [*PROGRAM, "recover", "--watch", "0.1", "--json"],
        env=environment({"PAYPLATFORM_DB": str(shell.db), "PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    rounds = [json.loads(watching.stdout.readline()) for _ in range(2)]
    watching.send_signal(stop)
    _, err = watching.communicate(timeout=20)

    assert [each["succeeded"] for each in rounds] == [1, 0]
    assert watching.returncode == 0
    assert "until Ctrl-C" in err
    assert "stopped" in err
    assert "Traceback" not in err


def test_doctor_finds_nothing_where_all_is_well(shell: Shell) -> None:
    shell.payment()
    shell.payment(number=POOR)
    shell.payment("authorize")

    said, document = shell("doctor"), shell.json("doctor")

    assert said.code == 0
    assert "3 payments compared with the simulated bank's statement: equal" in said.out
    assert document["ok"] is True
    assert (document["merchants"], document["payments"]) == (1, 3)
    assert [check["name"] for check in document["checks"]] == [
        *("database", "files", "invariants", "bank", "operations"),
    ]
    assert document["findings"] == document["unresolved"] == []


def test_doctor_finds_books_that_differ_from_the_banks(shell: Shell) -> None:
    payment = shell.payment()["id"]
    Path(f"{shell.db}.bank").unlink()
    SimulatedBank(f"{shell.db}.bank").close()

    said = shell("doctor")
    document = shell("doctor", "--json")

    assert said.code == document.code == 10
    assert payment in said.out
    assert document.document["ok"] is False


def test_doctor_finds_files_that_others_may_read(shell: Shell) -> None:
    shell.db.chmod(0o644)

    said = shell("doctor")

    assert said.code == 10
    assert "others may read" in said.out


def test_doctor_tells_of_unclear_operations_that_recover_looks_after(shell: Shell) -> None:
    shell("charge", "64", "EUR", "--card-stdin", typing=typed(LOSES_REQUEST))

    said, document = shell("doctor"), shell.json("doctor")

    assert said.code == 0
    assert "1 for payplatform recover" in said.out
    assert "A sale of 64.00 EUR" in said.out
    assert "Never ask with a new key." in " ".join(said.out.split())
    assert [o["state"] for o in document["unresolved"]] == ["in_doubt"]


def test_a_round_that_fails_is_told_and_does_not_end_the_watch(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rounds fail, the third does not, and at the fourth somebody presses Ctrl-C."""
    shell("charge", "64", "EUR", "--card-stdin", typing=typed(LOSES_REPLY))
    troubles = [StorageBusy("others held the file"), StorageBusy("and again"), None]
    recover, rounds = PayPlatform.recover, []

    def troubled(pay: PayPlatform, limit: int) -> object:
        trouble = troubles.pop(0) if troubles else KeyboardInterrupt()
        rounds.append(trouble)
        if trouble is not None:
            raise trouble
        return recover(pay, limit)

    monkeypatch.setattr(PayPlatform, "recover", troubled)
    said = shell("recover", "--watch", "0.1", "--json")

    assert said.code == 0
    assert len(rounds) == 4
    assert "this round failed (storage_busy): others held the file" in said.err
    assert [json.loads(line)["succeeded"] for line in said.out.splitlines()] == [1]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 2])
def test_a_watch_finishes_its_round_and_stops_at_once_when_asked_twice(
    times: int, sign: int
) -> None:
    finished: list[bool] = []

    def watch() -> None:
        with _care.interruptions() as rest:
            for _ in range(times):
                os.kill(os.getpid(), sign)
            finished.append(True)
            rest(60)

    with pytest.raises(KeyboardInterrupt):
        watch()

    assert finished == [True] * (times == 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_unresolved_says_what_is_known_and_what_to_do(shell: Shell) -> None:
    """Of every merchant, unless one is named."""
    assert "nothing is unclear" in shell("unresolved").err
    review = shell.in_review()
    shell("charge", "64", "EUR", "--card-stdin", typing=typed(LOSES_REQUEST))
    mine = shell.json("init")["merchant"]["id"]
    other = shell.json("init", "--name", "Other")["merchant"]["id"]

    said, document = shell("unresolved"), shell.json("unresolved")

    assert said.code == 0
    text = " ".join(said.out.split())
    assert f"{review} needs_review" in text
    assert f"Look for {review}, the sale of 7.00 EUR, in the bank's statement" in text
    assert "A sale of 64.00 EUR" in text
    assert {o["state"] for o in document["unresolved"]} == {"needs_review", "in_doubt"}
    assert all(o["known"] and o["next_step"] for o in document["unresolved"])
    assert {o["merchant"] for o in document["unresolved"]} == {mine}
    assert shell.json("unresolved", "--merchant", other)["unresolved"] == []
    assert shell.json("unresolved", "--limit", "1")["has_more"] is True
    assert "there are more" in shell("unresolved", "--limit", "1").err


def test_resolve_records_who_decided_what_and_why(shell: Shell) -> None:
    review = shell.in_review()
    words = [
        *("resolve", review, "--outcome", "aborted", "--actor", "bea"),
        *("--reason", "not on the statement", "--evidence", "ticket 4711"),
    ]

    said = shell(*words)
    again = shell(*words, "--json")
    payment = shell.json("list")["payments"][0]["id"]
    event = shell.json("show", payment)["timeline"][-1]

    assert said.code == 0
    assert f"{review} is on record as aborted." in said.out
    assert "failed" in said.out
    assert event["type"] == "sale.aborted"
    assert event["details"].items() >= {"actor": "bea", "evidence": "ticket 4711"}.items()
    assert (again.code, again.error["code"]) == (4, "not_in_review")
    assert shell.json("unresolved")["unresolved"] == []


def test_resolve_answers_with_the_operation_and_its_payment(shell: Shell) -> None:
    words = ("--outcome", "succeeded", "--actor", "bea", "--reason", "on the statement")

    document = shell.json("resolve", shell.in_review(), *words)

    assert document["operation"]["state"] == "succeeded"
    assert document["payment"]["status"] == "captured"


@pytest.mark.parametrize("left_out", ["--outcome", "--actor", "--reason"])
def test_resolve_wants_to_know_what_who_and_why(shell: Shell, left_out: str) -> None:
    said = {"--outcome": "aborted", "--actor": "bea", "--reason": "gone"}
    words = [word for pair in said.items() if pair[0] != left_out for word in pair]

    assert shell("resolve", "op_1", *words).code == 2


def test_a_payment_that_needs_a_person_says_where_to_look(shell: Shell) -> None:
    shell.in_review()

    payment = shell("list", "--ids").out.strip()
    assert "payplatform unresolved" in shell("show", payment).out


def test_doctor_names_the_row_the_rule_and_what_may_have_been_at_work(shell: Shell) -> None:
    payment = shell.payment()["id"]
    with closing(sqlite3.connect(shell.db)) as database:
        database.execute("UPDATE payments SET requested = 1")
        database.commit()

    said, document = shell("doctor"), shell("doctor", "--json").document

    assert said.code == 10
    text = " ".join(said.out.split())
    assert f"payment {payment}: facts" in text
    assert "requested is 1, and the events add up to 1999" in text
    assert "may be The amounts, or an event, were changed" in text
    rules = {finding["rule"]: finding for finding in document["findings"]}
    assert set(rules) == {"chain", "stored_form", "facts"}
    assert set(rules["facts"]) == {"merchant_id", "record_id", "row", "rule", "text", "cause"}


def test_doctor_shows_a_bar_on_a_terminal_and_none_in_a_pipe(shell: Shell) -> None:
    shell.payment()
    screen, terminal = pty.openpty()
    done = subprocess.run(
        [*PROGRAM, "doctor"],
        env=environment({"PAYPLATFORM_DB": str(shell.db), "TERM": "xterm"}),
        stdout=terminal,
        stderr=terminal,
        timeout=60,
        check=False,
    )
    os.close(terminal)
    shown = b""
    # Where nothing is left to read, Linux fails and others say nothing.
    with suppress(OSError):
        while some := os.read(screen, 4_096):
            shown += some
    os.close(screen)

    assert done.returncode == 0
    assert b"3/3" in shown
    assert b"all rules hold" in shown
    assert shell("doctor").err == ""
