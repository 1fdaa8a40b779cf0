"""Writes the software bill of materials: what whoever installs payplatform gets, and its licences.

    python tools/sbom.py [FILE]        CycloneDX as JSON; sbom.cdx.json by default

It is cyclonedx-py's inventory of the environment that runs this, cut down to payplatform, its
dependencies and its extras, and what those need in turn: the tools of a working copy are not
shipped. The same environment gives the same file. Fails when a licence is not known.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LICENCES_NOT_IN_METADATA = {"sqlite-fts4": "Apache-2.0"}
"""What a package's repository says, where the package itself says nothing."""

Bill = dict[str, Any]


def environment() -> Bill:
    """The inventory of everything that is installed here."""
    done = subprocess.run(  # noqa: S603  # our own tool, with our own words
        [
            *(sys.executable, "-m", "cyclonedx_py", "environment"),
            *("--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "library"),
            *("--output-reproducible", "--output-file", "-", sys.executable),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    bill: Bill = json.loads(done.stdout)
    return bill


def needed(requirements: Iterable[str]) -> frozenset[str]:
    """The packages that these requirements lead to, as they are installed here."""
    found: set[str] = set()
    to_visit = [(Requirement(text), "") for text in requirements]
    while to_visit:
        wanted, extra = to_visit.pop()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        if (name := canonicalize_name(wanted.name)) not in found:
            found.add(name)
            below = [Requirement(text) for text in metadata.requires(name) or ()]
            to_visit += [(each, more) for each in below for more in ("", *wanted.extras)]
    return frozenset(found)


def asked_for() -> list[str]:
    """What the project asks for: its dependencies, and those of each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *chain(*project["optional-dependencies"].values())]


def shipped(bill: Bill) -> Bill:
    """The part of it that payplatform and its extras lead to."""
    root, packages = bill["metadata"]["component"]["bom-ref"], needed(asked_for())
    parts = [part for part in bill["components"] if canonicalize_name(part["name"]) in packages]
    kept = {root, *(part["bom-ref"] for part in parts)}
    needs = [
        entry | {"dependsOn": [ref for ref in entry.get("dependsOn", []) if ref in kept]}
        for entry in bill["dependencies"]
        if entry["ref"] in kept
    ]
    return bill | {"components": parts, "dependencies": needs}


def with_licences(bill: Bill) -> Bill:
    """Each part with a licence, as its metadata or its repository tells."""
    parts = []
    for part in bill["components"]:
        known = LICENCES_NOT_IN_METADATA.get(part["name"])
        added = {"licenses": [{"license": {"id": known}}]} if known else {}
        parts.append(added | part)
    return bill | {"components": parts}


def licences(bill: Bill) -> Iterator[tuple[str, str, str]]:
    """Name, version and licence of each part."""
    for part in bill["components"]:
        told = dict.fromkeys(map(_licence, part.get("licenses", [])))
        yield part["name"], part["version"], ", ".join(told)


def _licence(entry: Mapping[str, Any]) -> str:
    told = entry.get("license", {})
    text = entry.get("expression") or told.get("id") or told.get("name") or ""
    return str(text).rpartition(":: ")[2]


def main(arguments: list[str]) -> int:
    """Write the bill and print the licences.

    Returns:
        The exit code: 1 if a licence is not known.
    """
    file = Path(arguments[0] if arguments else "sbom.cdx.json")
    bill = with_licences(shipped(environment()))
    file.write_text(json.dumps(bill, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    listed = list(licences(bill))
    for name, version, licence in listed:
        print(f"{name:22} {version:18} {licence or 'NOT KNOWN'}")  # noqa: T201  # what it is for
    return 0 if all(licence for *_, licence in listed) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
