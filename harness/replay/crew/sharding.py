"""Which worker sends an exchange: a client stays whole, so that its order and its session do.

Takes exchanges, gives each one's worker by a hash of its client, the same on every machine and in every run. Where a
source did not say who the client was, nothing ties two exchanges together, and they are dealt out by their place.
Stands on the standard library alone.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

REMEMBERED_CLIENTS = 65_536
"""Clients whose worker is not worked out again; the hash costs more than finding it."""


class Owned(Protocol):
    """What has a client and a place, as `Exchange` has."""

    @property
    def seq(self) -> int: ...

    @property
    def client(self) -> str: ...


Item = TypeVar("Item", bound=Owned)


@functools.lru_cache(maxsize=REMEMBERED_CLIENTS)
def _of_client(client: str, workers: int) -> int:
    digest = hashlib.sha256(client.encode("utf-8", errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % workers


def worker_of(client: str, seq: int, workers: int) -> int:
    """The worker, `0 <= worker < workers`, that sends exchange `seq` of this client (empty: not known)."""
    return _of_client(client, workers) if client else seq % workers


def share(exchanges: Iterable[Item], worker: int, workers: int) -> Iterator[Item]:
    """The exchanges that are this worker's, in the order in which they came."""
    return (item for item in exchanges if worker_of(item.client, item.seq, workers) == worker)
