"""The command for the keys that cards are under: their age, new ones, and the cards after them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import click
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from payplatform._engine.vault_reports import KeyStatus, RotationReport, VaultStatus
from payplatform.cli._exits import Exit
from payplatform.cli._screen import counted, facts_grid, moment_text, plain_table
from payplatform.cli._session import Refused, Session, common_options, examples, pass_session
from payplatform.client.platform import PayPlatform
from payplatform.client.vault import Vault

_PURPOSES = {"dek": "data", "fpk": "fingerprint"}


@click.command(
    epilog=examples(
        "payplatform vault status",
        "payplatform vault rotate data fingerprint",
        "payplatform vault run",
    )
)
@click.argument("action", type=click.Choice(["status", "rotate", "run"]))
@click.argument("keys", nargs=-1, type=click.Choice(["data", "fingerprint", "master"]))
@click.option(
    "--older-than",
    type=click.IntRange(0, 36_500),
    metavar="DAYS",
    help="Only data and fingerprint keys that are older; master: also what was wrapped before.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many cards.")
@common_options("json", "merchant", "db")
@pass_session
def vault(
    session: Session,
    *,
    action: str,
    keys: tuple[str, ...],
    older_than: int | None,
    limit: int | None,
) -> Exit:
    """Tell the age of keys, and rotate them.

    status: how old the keys are, how many cards are under each, and what is overdue. rotate: new
    keys, for every merchant unless one is named; then as run. run: bring cards to the newest keys,
    and destroy the old ones. Shops go on selling meanwhile. What was interrupted goes on with run.
    """
    if (action == "rotate") is not bool(keys):
        raise Refused(
            "rotate takes the kinds of keys: data, fingerprint, master; the others take none",
            code="usage",
            field="keys",
            hint="payplatform vault rotate data",
        )
    with session.platform() as (pay, _):
        room = _vault_of(pay, session.merchant)
        if action == "status":
            status = room.status()
            session.answer(_status_form(status), *_status_text(status))
            return Exit.OK
        age = None if older_than is None else timedelta(days=older_than)
        made = {key: _rotated(room, key, age) for key in keys}
        report = _brought_to_new_keys(session, room, limit)
    document = {"rotated": made, **_report_form(report)}
    session.answer(document, _report_text(made, report))
    return Exit.OK


def _vault_of(pay: PayPlatform, merchant_id: str | None) -> Vault:
    return pay.vault if merchant_id is None else pay.merchant(merchant_id).vault


def _rotated(room: Vault, key: str, older_than: timedelta | None) -> int:
    if key == "master":
        return room.rotate_master_key(older_than=older_than)
    rotate = room.rotate_data_key if key == "data" else room.rotate_fingerprint_key
    return rotate() if older_than is None else rotate(older_than=older_than)


def _brought_to_new_keys(session: Session, room: Vault, limit: int | None) -> RotationReport:
    """A run, with a bar on standard error while it is under way, where a person looks."""
    if session.json or not session.err.is_terminal:
        return room.run(limit=limit)
    columns = TextColumn("cards"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=session.err, transient=True) as bar:
        task = bar.add_task("cards", total=None)
        return room.run(
            limit=limit,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _report_form(report: RotationReport) -> dict[str, Any]:
    return {
        "resealed": report.resealed,
        "refingerprinted": report.refingerprinted,
        "destroyed": report.destroyed,
        "left": report.left,
        "damaged": list(report.damaged),
    }


def _report_text(made: dict[str, int], report: RotationReport) -> RenderableType:
    rows: list[tuple[str, RenderableType | None]] = [
        *(
            (f"{key} keys", f"{count} new" if key != "master" else f"{count} wrapped anew")
            for key, count in made.items()
        ),
        ("sealed anew", counted(report.resealed, "card")),
        ("fingerprints", counted(report.refingerprinted, "card")),
        ("destroyed", counted(report.destroyed, "old key")),
        ("left", str(report.left)),
        ("damaged", Text(" ".join(report.damaged), style="red") if report.damaged else None),
    ]
    return facts_grid(rows)


def _status_form(status: VaultStatus) -> dict[str, Any]:
    return {
        "master_key": {
            "name": status.master_key,
            "age_s": status.master_key_age_s,
            "overdue": status.master_key_is_overdue,
            "wrapped_by_others": status.wrapped_by_others,
        },
        "cards": status.cards,
        "left": status.left,
        "keys": list(map(_key_form, status.keys)),
    }


def _key_form(key: KeyStatus) -> dict[str, Any]:
    return {
        "merchant_id": key.merchant_id,
        "purpose": _PURPOSES[key.purpose],
        "version": key.key_version,
        "created_at": key.created_at.isoformat(),
        "retired_at": None if key.retired_at is None else key.retired_at.isoformat(),
        "age_s": key.age_s,
        "cards": key.records,
        "overdue": key.is_overdue,
    }


def _status_text(status: VaultStatus) -> Iterable[RenderableType]:
    others = f"{status.wrapped_by_others} wrapped by another: payplatform vault rotate master"
    yield facts_grid(
        [
            ("master key", status.master_key),
            (
                "overdue",
                Text("the master key", style="red") if status.master_key_is_overdue else None,
            ),
            ("keys", others if status.wrapped_by_others else None),
            ("cards", str(status.cards)),
            ("left", f"{status.left}: payplatform vault run" if status.left else None),
        ]
    )
    yield ""
    table = plain_table(["merchant", "key", "made", "", "cards"], right=["cards"])
    for key in status.keys:
        state = "seals" if key.purpose == "dek" else "recognises"
        state = state if key.retired_at is None else "retired"
        table.add_row(
            key.merchant_id,
            f"{_PURPOSES[key.purpose]} {key.key_version}",
            moment_text(key.created_at),
            Text(f"{state}, overdue", style="red") if key.is_overdue else Text(state),
            str(key.records),
        )
    yield table
