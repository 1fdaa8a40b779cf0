#!/bin/sh
# Makes .venv ready for one requirements file: tools/make-venv.sh demo | dev | lock
#
# Finds a Python that is new enough, makes the virtual environment if there is none that works, installs
# requirements/NAME.txt exactly as pinned, and then payplatform itself from this folder. Needs no
# compiler, no network but the package index pip is set up for, and no rights outside this folder.
set -eu

if [ ! -f "requirements/${1:-}.txt" ]; then
    echo "usage: tools/make-venv.sh demo | dev | lock     (from the project's folder)" >&2
    exit 2
fi
requirements=requirements/$1.txt
venv_python=.venv/bin/python

# Settings that would send the install elsewhere than into .venv.
unset PYTHONHOME PYTHONPATH PIP_PREFIX PIP_REQUIRE_VIRTUALENV PIP_ROOT PIP_TARGET PIP_USER
PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
export PIP_USER PIP_DISABLE_PIP_VERSION_CHECK PIP_NO_INPUT

fail() {
    printf '\n%s\n' "$@" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    # Word splitting is meant: PYTHON names one interpreter, the default names several.
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3}; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

has_pip() {
    "$1" -m pip --version >/dev/null 2>&1
}

make_venv() {
    echo "Making .venv with $("$python" --version) ($(command -v "$python"))"
    if "$python" -c 'import ensurepip' >/dev/null 2>&1; then
        "$python" -m venv --clear .venv
    elif has_pip "$python"; then
        # Debian's Python comes without ensurepip: the pip that is there fills the environment instead.
        "$python" -m venv --clear --without-pip .venv
    else
        fail "$python cannot make a virtual environment: it has neither ensurepip nor pip." \
            "On Debian and Ubuntu: apt install python3-venv. Then run make again."
    fi
}

install() {
    if has_pip "$venv_python"; then
        "$venv_python" -m pip install --quiet "$@"
    else
        "$python" -m pip --python "$venv_python" install --quiet "$@"
    fi
}

python=$(find_python)
if [ -z "$python" ]; then
    fail "payplatform needs Python 3.11 or newer, and there is none among: ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3}." \
        "Install one, or name it: make PYTHON=/path/to/python3.12 ..."
fi

if ! is_new_enough "$venv_python"; then
    make_venv
fi
echo "Installing $requirements into .venv"
install --require-hashes --only-binary :all: --requirement "$requirements"
if [ "$1" != lock ]; then
    install --no-deps --no-build-isolation --editable .
fi
