"""How many of each: a few in every run, all with PAYPLATFORM_CRASH=full; and what was counted."""

from __future__ import annotations

import os
from collections import Counter, defaultdict

IS_FULL = os.environ.get("PAYPLATFORM_CRASH") == "full"

FIGURES: defaultdict[str, Counter[str]] = defaultdict(Counter)
"""What each story counted, for the end of the run."""


def how_many(*, full: int, sample: int) -> int:
    return full if IS_FULL else sample
