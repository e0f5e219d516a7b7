"""The shares of a unit's exchanges: whose each is, and what each share was, to be compared with what workers sent."""

from __future__ import annotations

import hashlib
import struct

from harness.model.recording import Exchange
from harness.replay.crew.sharding import worker_of

_PLACE = struct.Struct("<qq")


class ShareDigest:
    """Of a share: which exchanges, and when. The recording's own digest says what they are."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, exchange: Exchange) -> None:
        self._digest.update(_PLACE.pack(exchange.seq, exchange.at_ns))

    def __str__(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


class Shares:
    """Of all workers, here and on other machines."""

    def __init__(self, workers: int) -> None:
        self._digests = [ShareDigest() for _ in range(workers)]

    def owner(self, exchange: Exchange) -> int:
        """The worker whose it is; to be asked once about each exchange, in order."""
        worker = worker_of(exchange.client, exchange.seq, len(self._digests))
        self._digests[worker].add(exchange)
        return worker

    def digest(self, worker: int) -> str:
        """Of the share of this worker, as far as was asked."""
        return str(self._digests[worker])
