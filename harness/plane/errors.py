"""What goes wrong between the engine and a plane container."""

from __future__ import annotations

from harness.errors import EngineError

PLANE_FIX = "see logs/plane.log in the report (or `docker logs` of the plane's container), then run again"


class PlaneError(EngineError):
    """A plane did not answer, refused, or answered what cannot be; names the container and the question."""

    def __init__(self, what: str, fix: str = PLANE_FIX) -> None:
        super().__init__(what, fix)
