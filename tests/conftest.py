"""What every test runs under: how hard hypothesis tries, and for how long."""

import os
from collections.abc import Iterator

import pytest
from faces import FACES, ON_BOTH, facing
from hypothesis import settings

# No deadline: a shared machine is slow now and then, and a slow example is not a wrong one. Each
# profile is bounded by its number of examples instead.
settings.register_profile("dev", max_examples=50, deadline=None)
# The same examples on every run, and a blob to replay a failure with.
settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, print_blob=True, database=None
)
settings.register_profile("thorough", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have the tests of what both faces promise run on both."""
    if metafunc.module.__name__ in ON_BOTH:
        metafunc.fixturenames.insert(0, "face")
        metafunc.parametrize("face", FACES, indirect=True, scope="module")


@pytest.fixture(scope="module")
def face(request: pytest.FixtureRequest) -> Iterator[None]:
    with facing(request.param):
        yield
