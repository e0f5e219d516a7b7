"""The world that the tests of the plane and of the faults share; up once a session, whole again after each test."""

from collections.abc import Iterator

import pytest

from tests.containers.plane_world import PlaneWorld, plane_world


@pytest.fixture(scope="session")
def plane_world_of_session() -> Iterator[PlaneWorld]:
    with plane_world() as up:
        yield up


@pytest.fixture
def edges(plane_world_of_session: PlaneWorld) -> Iterator[PlaneWorld]:
    """The world; a test that leaves harm behind fails."""
    yield plane_world_of_session
    plane_world_of_session.order("forget")
    left = plane_world_of_session.harm_left()
    if left:
        plane_world_of_session.repair()
    assert left == []
