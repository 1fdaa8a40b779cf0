"""The command line: `payplatform`, in the extra `cli`.

Law of this folder: it is a user of the public API like any other, and holds no rule of payments.
A card number comes in at a hidden prompt or on standard input, never as an argument, and goes out
nowhere. Standard output has the answer, as text for people or as one JSON document; whatever is
said besides goes to standard error.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from payplatform.cli._exits import EXIT_CODES, Exit

__all__ = ["EXIT_CODES", "Exit", "main"]

_EXTRA = ("click", "rich")


def main() -> NoReturn:
    """Run the command line with the arguments of this process, and exit with a documented code."""
    try:
        from payplatform.cli._app import app  # noqa: PLC0415  # to say so in words where it is not
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
    else:
        app()
    print(
        f"payplatform's command line needs the package {missing}, which is not installed. "
        'Install the extra: pip install "payplatform[cli]"',
        file=sys.stderr,
    )
    sys.exit(Exit.USAGE)
