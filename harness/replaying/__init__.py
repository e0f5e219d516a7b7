"""`readiness replay`: sends one recording to a target that the user names, and says how faithfully and with what effect.

Takes a `ReplayRequest`, gives a `ReplayResult`; prints nothing (`harness/printing/replays.py` does). The same generator,
the same measures of fidelity and the same policy as in a run; without an environment, arms and faults.
"""

from harness.replaying.engine import replay
from harness.replaying.request import ReplayRequest
from harness.replaying.result import ReplayResult, Standing

__all__ = ["ReplayRequest", "ReplayResult", "Standing", "replay"]
