"""The project as it is shipped and set up: what is pinned, what is packed, what greets you."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIREMENT_FILES = sorted((ROOT / "requirements").glob("*.txt"))

PIN = re.compile(r"([\w.-]+)==([\w.]+)(?: ; [^#]+?)?( --hash=sha256:[0-9a-f]{64})+")


def pins(file: Path) -> dict[str, list[str]]:
    """Reads a requirements file: name to versions, several where they depend on the Python."""
    found: dict[str, list[str]] = {}
    for line in logical_lines(file):
        pin = PIN.fullmatch(line)
        assert pin, f"neither pinned nor hashed: {line[:80]}"
        found.setdefault(canonicalize_name(pin[1]), []).append(pin[2])
    return found


def logical_lines(file: Path) -> list[str]:
    whole = re.sub(r"^\s*#.*$|\s+#.*$", "", file.read_text(), flags=re.MULTILINE)
    return [
        " ".join(line.split()) for line in whole.replace("\\\n", " ").splitlines() if line.strip()
    ]


def wanted(*names: str) -> list[Requirement]:
    """The requirements of the library, of each named extra and of each named group."""
    project = PROJECT["project"]
    texts = list(project["dependencies"])
    for name in names:
        texts += project["optional-dependencies"].get(name) or PROJECT["dependency-groups"][name]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("file", REQUIREMENT_FILES, ids=lambda file: file.name)
def test_every_requirement_is_pinned_and_hashed(file: Path) -> None:
    assert pins(file)


@pytest.mark.parametrize("file", REQUIREMENT_FILES, ids=lambda file: file.name)
def test_a_requirements_file_names_no_place_to_download_from(file: Path) -> None:
    text = file.read_text()

    for forbidden in ["http", "file:", "--index-url", "--extra-index-url", "--find-links", "-i "]:
        assert forbidden not in text


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("demo.txt", ["cli", "build"]),
        (
            "dev.txt",
            [
                *PROJECT["project"]["optional-dependencies"],
                *("build", "test", "check", "docs", "sbom"),
            ],
        ),
    ],
)
def test_the_pins_answer_what_the_project_asks_for(file: str, names: list[str]) -> None:
    """Else somebody changed pyproject.toml and forgot `make lock`."""
    pinned = pins(ROOT / "requirements" / file)

    for requirement in wanted(*names):
        versions = pinned[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_the_demo_runs_on_versions_that_the_tests_ran_on() -> None:
    demo, dev = (pins(ROOT / "requirements" / file) for file in ["demo.txt", "dev.txt"])

    assert demo == {name: dev[name] for name in demo}


def test_the_wheel_holds_the_library_its_types_and_its_licence_and_nothing_else(
    tmp_path: Path,
) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    info = f"payplatform-{PROJECT['project']['version']}.dist-info"

    ours = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert ours | {"payplatform/py.typed"} == {name for name in held if not name.startswith(info)}
    assert f"{info}/licenses/LICENSE" in held


def test_make_tells_what_it_can_do() -> None:
    told = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert re.findall(r"^  make ([\w-]+) +\S", told.stdout, re.MULTILINE) == targets.split()


# The set-up script, run in a copy of what it needs, among interpreters that only pretend.


def pretender(version: tuple[int, int, int], otherwise: str) -> str:
    """A shell script that is as old as `version` when asked, and does `otherwise` for the rest."""
    answer = f"'{sys.executable}' -c 'import sys; sys.version_info = {version}; exec(sys.argv[1])'"
    return f'case "$*" in *version_info*) {answer} "$2";; {otherwise} esac'


ABSENT = "exit 127"
OLD = pretender((3, 10, 99), "*) exit 1;;")
# New enough, but with neither ensurepip nor pip.
BARE = pretender((3, 11, 0), "--version) echo Python 3.11.0;; *) exit 1;;")
# As Debian ships it: no ensurepip, but pip.
DEBIAN = pretender((3, 11, 0), '*ensurepip*) exit 1;; *) echo "$*" >>asked;;')


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "bin").mkdir()
    return tmp_path


def set_up(clone: Path, **interpreters: str) -> subprocess.CompletedProcess[str]:
    """Runs the set-up with nothing but `interpreters` (name to shell script) to be found."""
    for name, script in interpreters.items():
        program = clone / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    shell = shutil.which("sh")
    assert shell is not None
    return subprocess.run(
        [shell, "tools/make-venv.sh", "demo"],
        cwd=clone,
        env={"PATH": str(clone / "bin"), "HOME": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_new_enough_python_the_set_up_says_which_it_needs(clone: Path) -> None:
    told = set_up(clone, python3=OLD, **{"python3.12": ABSENT})

    assert told.returncode == 1
    assert "needs Python 3.11 or newer" in told.stderr
    assert "make PYTHON=" in told.stderr


def test_without_ensurepip_and_pip_the_set_up_says_what_to_install(clone: Path) -> None:
    told = set_up(clone, python3=BARE)

    assert told.returncode == 1
    assert "apt install python3-venv" in told.stderr


def test_without_ensurepip_the_pip_that_is_there_fills_the_environment(clone: Path) -> None:
    told = set_up(clone, python3=OLD, **{"python3.13": DEBIAN})

    asked = (clone / "asked").read_text()
    assert told.returncode == 0, told.stderr
    assert "-m venv --clear --without-pip .venv" in asked
    assert "-m pip --python .venv/bin/python install --quiet --require-hashes" in asked


def test_an_unknown_set_of_requirements_is_refused(clone: Path) -> None:
    (clone / "requirements" / "demo.txt").unlink()

    assert set_up(clone, python3=DEBIAN).returncode == 2
