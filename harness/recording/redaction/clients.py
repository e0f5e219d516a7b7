"""Columns of clients: pseudonyms for addresses and names, and which addresses are a client's wherever they stand.

Takes the distinct values of `client` or `connection`, changes them. A log may have as many clients as lines, so IPv4
addresses are changed all at once, and what addresses became is kept. Names that a reader made up stay.
"""

from __future__ import annotations

import pyarrow as pa

from harness.recording.redaction.addresses import is_v6, v4_in
from harness.recording.redaction.columns import Column
from harness.recording.redaction.core import Core, Place

MOST_ADDRESSES = 500_000
MOST_KEPT = 200_000
CLIENT_NAMES = "client-"
"""What readers call clients that their source numbers: nobody's name."""


class Clients:
    """Looks at the names of clients. What was changed is counted once, as long as it is kept."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._kept: dict[str, str] = {}
        """Addresses of clients and what they became."""
        self._counted: set[str] = set()
        """Other names that were changed."""

    def learn(self, names: list[str], flags: list[bool] | None = None) -> None:
        """The addresses among the names of clients are known in every text from now on. `flags`: which are IPv4."""
        addresses = self._core.addresses
        if len(addresses) >= MOST_ADDRESSES:
            return
        for name, v4 in zip(names, _are_v4(names) if flags is None else flags, strict=True):
            if len(addresses) < MOST_ADDRESSES and (v4 or is_v6(name)):
                addresses.add(name)
                self._core.colons |= ":" in name

    def clients(self, column: Column) -> None:
        """Pseudonyms for all, whose addresses are learnt."""
        names = column.texts()
        new = list(map(self._kept.get, names))
        if None in new:
            missing = [name for name, known in zip(names, new, strict=True) if known is None]
            if len(self._kept) + len(missing) > MOST_KEPT:
                self._kept.clear()
                missing = names
            flags = _are_v4(missing)
            self.learn(missing, flags)
            self._keep(missing, flags)
        self._replace(column, names, Place("request", "client"))

    def connections(self, column: Column) -> None:
        """The same for names of connections, which are clients' where the source numbers them."""
        self._replace(column, column.texts(), Place("request", "connection"))

    def _replace(self, column: Column, names: list[str], place: Place) -> None:
        new = list(map(self._kept.get, names))
        column.replace_all(
            names,
            [
                self._named(name, place) if known is None else known
                for name, known in zip(names, new, strict=True)
            ]
            if None in new
            else new,
        )

    def _keep(self, names: list[str], flags: list[bool]) -> None:
        """Change those that are addresses."""
        v4 = [name for name, flag in zip(names, flags, strict=True) if flag]
        new = dict(zip(v4, self._core.pseudonyms.v4_many(v4), strict=True))
        for name, flag in zip(names, flags, strict=True):
            if not flag and name in self._core.addresses:
                new[name] = self._core.pseudonyms.of(name)
        self._kept.update(new)
        changed = [name for name in new if new[name] != name]
        self._core.tally.replaced("client", "pseudonym", len(changed))
        if self._core.originals is not None:
            self._core.originals.update(dict.fromkeys(changed))

    def _named(self, name: str, place: Place) -> str:
        """What is no address of a client's that is kept."""
        if not name or (name.startswith(CLIENT_NAMES) and name[len(CLIENT_NAMES) :].isdigit()):
            return name
        new = self._core.pseudonym(name, learn=name not in self._core.addresses)
        if new != name and name not in self._counted:
            if len(self._counted) >= MOST_KEPT:
                self._counted.clear()
            self._counted.add(name)
            self._core.tally.replaced(str(place), "pseudonym")
        return new


def _are_v4(names: list[str]) -> list[bool]:
    flags: list[bool] = v4_in(pa.array(names, pa.string())).to_pylist()
    return flags
