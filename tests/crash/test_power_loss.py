"""The power goes off after each call to the system that a money-moving call makes, and comes back.

How: each call is recorded once, down to the writes, syncs and deletes that SQLite asks of the
system, up to the closing of the file. Then the folder is made what a power cut could have left of
it: with un-synced writes there, gone, half there, or torn in sectors. On each such image a new
process starts, beside a bank that has forgotten nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from crash_size import FIGURES, how_many
from mortal import World
from powerless import (
    Outcome,
    Story,
    after,
    record,
    require_nothing_lost,
    require_recovery,
    stored_outcome,
)
from verbs import KEY, VERBS

from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing.disk import Image

IMAGES = how_many(full=1_000, sample=12)


def some_images(story: Story) -> Sequence[Image]:
    """At least so many different images, or the same number of them, evenly drawn, in a sample."""
    seeds = how_many(full=12, sample=1)
    images = list(story.disk.images(seeds=range(seeds)))
    assert len(images) >= IMAGES
    chance = random.Random(KEY)  # noqa: S311  # repeatable, not unguessable
    return chance.sample(images, how_many(full=len(images), sample=IMAGES))


@pytest.mark.parametrize("verb", VERBS)
def test_a_power_cut_loses_nothing_that_was_told_and_takes_nothing_twice(
    verb: str, tmp_path: Path
) -> None:
    """Every image opens, tells what was told, and is recovered to what the bank has booked."""
    story = record(tmp_path / "before", *VERBS[verb])
    folder = tmp_path / "after"
    folder.mkdir()
    for image in some_images(story):
        with after(story, image, folder) as world:
            require_nothing_lost(story, image, world)
            require_recovery(story, world)
        FIGURES["power cuts"][f"images of {verb}"] += 1


def test_a_store_that_does_not_wait_for_the_disk_is_caught(tmp_path: Path) -> None:
    """With `synchronous = NORMAL`, the same power cuts lose what callers or the bank were told."""
    story = record(tmp_path / "before", *VERBS["charge"], planted=do_not_wait)
    folder = tmp_path / "after"
    folder.mkdir()
    images = list(story.disk.images())
    lost = 0
    for image in images:
        with after(story, image, folder) as world:
            lost += loses(image, world)
    FIGURES["power cuts with synchronous = NORMAL"] += Counter(images=len(images), lost=lost)
    assert lost > 0


def loses(image: Image, world: World) -> bool:
    """Whether an outcome that was told, or an order that the bank has booked, is not there."""
    told = [mark.told for mark in image.marks if isinstance(mark, Outcome)]
    stored = world.storage.operation_with_key(world.merchant_id, KEY)
    booked = len(world.bank.statement(world.merchant_id))
    return (stored is None and booked > 0) or any(t != stored_outcome(world) for t in told)


def do_not_wait(storage: SQLiteStorage) -> None:
    with storage._connections.mine() as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
