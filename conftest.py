"""What every test run of this repository needs, from an installed package or from a bare checkout.

The plugin comes by its entry point when the package is installed. `pytest_plugins` below names it under the
same name, `harness.plugin`, so pytest takes the second registration for the first one; in a checkout
that is not installed it is the only one.
"""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path

import pytest

pytest_plugins = ["harness.plugin", "pytester"]
collect_ignore = ["tests/golden"]  # definitions that are wrong on purpose

CONTAINER_TESTS = Path(__file__).parent / "tests" / "containers"
# `make test` sets it: an engine that does not answer is then a failure, not a skip.
ENGINE_REQUIRED = "READINESS_TEST_ENGINE_REQUIRED"


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore Ctrl-C, and so would all that the tests start to try Ctrl-C on.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in tests/containers needs an engine; nobody has to remember to say so."""
    for item in items:
        if CONTAINER_TESTS in item.path.parents:
            item.add_marker(pytest.mark.containers)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip (or fail, where one was promised) what needs an engine when none answers."""
    if item.get_closest_marker("containers") is None:
        return
    reason = engine_missing()
    if reason is None:
        return
    if os.environ.get(ENGINE_REQUIRED) == "1":
        pytest.fail(f"a Docker engine was promised and does not answer: {reason}", pytrace=False)
    pytest.skip(f"no Docker engine answers: {reason}")


@functools.cache
def engine_missing() -> str | None:
    """Why no Docker engine answers within 10 s, or None when one does."""
    import docker
    import docker.errors

    try:
        client = docker.from_env(timeout=10)
        try:
            client.ping()
        finally:
            client.close()
    except (docker.errors.DockerException, OSError) as error:
        return str(error)
    return None
