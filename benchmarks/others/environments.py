"""An environment for each rival, for what they need shuts each other out: made by pip, once.

The names and bounds stand in pyproject.toml, in a dependency group for each; there are no pins, for
what is measured is what somebody would get who asked for it today.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_AT_MOST_S: Final = 900.0


class NotInstalled(Exception):
    """An environment could not be made; the text says why."""


def python_for(group: str, folder: Path) -> Path:
    """The interpreter of the environment for a dependency group, which is made where it is missing.

    Args:
        group: its name in pyproject.toml.
        folder: where the environments stand.

    Raises:
        NotInstalled: pip could not install it.
    """
    there = folder / group
    python, note = there / "bin" / "python", there / "installed.json"
    wanted = json.dumps([sys.version, *_requirements(group)])
    if not note.is_file() or note.read_text(encoding="utf-8") != wanted:
        venv.create(there, clear=True, symlinks=True)
        _install(python, _requirements(group))
        note.write_text(wanted, encoding="utf-8")
    return python


def _requirements(group: str) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    requirements: list[str] = project["dependency-groups"][group]
    return requirements


def _install(python: Path, requirements: list[str]) -> None:
    pip = [_one_with_pip(), "-m", "pip", "--python", str(python)]
    try:
        done = subprocess.run(
            [*pip, "install", "--quiet", *requirements],
            env=_for_pip(os.environ),
            capture_output=True,
            text=True,
            timeout=_AT_MOST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"pip took more than {_AT_MOST_S:.0f} seconds") from None
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise NotInstalled(told[-1].removeprefix("ERROR: ") if told else "pip failed")


def _one_with_pip() -> str:
    """This interpreter or, where its environment was made without pip, the one below."""
    below = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}")
    for python in (sys.executable, str(below)):
        asked = [python, "-m", "pip", "--version"]
        if (
            Path(python).is_file()
            and not subprocess.run(asked, capture_output=True, check=False).returncode
        ):
            return python
    raise NotInstalled("there is no pip")


def _for_pip(settings: Mapping[str, str]) -> dict[str, str]:
    """Without what would send the install elsewhere."""
    elsewhere = {"PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_ROOT", "PIP_TARGET", "PYTHONPATH"}
    kept = {name: value for name, value in settings.items() if name not in elsewhere}
    return {**kept, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
