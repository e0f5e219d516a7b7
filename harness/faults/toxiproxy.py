"""Speaks to one plane's Toxiproxy; the only module that knows its HTTP API and the word "toxic".

Takes the base address of one instance, gives `Toxiproxy`: add, list and remove toxics, every call bounded, every
refusal a `FaultError` that names proxy and toxic. It uses `requests` rather than toxiproxy-python, because that library
keeps its address in a class attribute (one instance a process; here every arm has one, driven from several threads),
sets no time limits, and takes 5xx answers for success. Removing a toxic can hang in Toxiproxy itself (its issue 558),
so a removal has a limit of its own and an error that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import requests

from harness.faults.base import FaultError

CONNECT_LIMIT_S = 3.0
ANSWER_LIMIT_S = 8.0

Stream = Literal["upstream", "downstream"]
"""upstream: from caller to callee; downstream: back."""


@dataclass(frozen=True)
class Toxic:
    """One toxic. Toxicity is always 1: a draw per connection would hit different requests in every arm."""

    name: str
    kind: str
    stream: Stream
    attributes: Mapping[str, int]


class Toxiproxy:
    """See the module's head. Holds no connection, so it may be used from any thread."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    def add(self, proxy: str, toxic: Toxic) -> None:
        """In force for new and live connections when this returns. Raises FaultError when it is not as asked for."""
        body = {
            "name": toxic.name,
            "type": toxic.kind,
            "stream": toxic.stream,
            "toxicity": 1.0,
            "attributes": dict(toxic.attributes),
        }
        self._call("POST", f"/proxies/{proxy}/toxics", f"adding {toxic.kind} to {proxy}", body)
        if toxic not in self.toxics(proxy):
            raise FaultError(f"Toxiproxy took {toxic.kind} on {proxy} and does not have it", _FIX)

    def remove(self, proxy: str, name: str) -> None:
        """Idempotent. Connections that the toxic held back are closed by Toxiproxy."""
        what = f"removing {name} from {proxy}"
        self._call("DELETE", f"/proxies/{proxy}/toxics/{name}", what, missing_is_fine=True)

    def toxics(self, proxy: str) -> tuple[Toxic, ...]:
        """What stands on a proxy now."""
        found = self._call("GET", f"/proxies/{proxy}/toxics", f"listing what stands on {proxy}").json()
        return tuple(Toxic(item["name"], item["type"], item["stream"], item["attributes"]) for item in found)

    def _call(
        self,
        method: str,
        path: str,
        what: str,
        body: Mapping[str, Any] | None = None,
        missing_is_fine: bool = False,
    ) -> requests.Response:
        try:
            answer = requests.request(
                method, self._base_url + path, json=body, timeout=(CONNECT_LIMIT_S, ANSWER_LIMIT_S)
            )
        except requests.Timeout as error:
            raise FaultError(
                f"{what}: Toxiproxy did not answer within {ANSWER_LIMIT_S:g} s", _HANGS_FIX
            ) from error
        except requests.RequestException as error:
            raise FaultError(f"{what}: Toxiproxy does not answer ({error})", _FIX) from error
        if answer.ok or (missing_is_fine and answer.status_code == requests.codes.not_found):
            return answer
        raise FaultError(
            f"{what}: Toxiproxy answered {answer.status_code}: {answer.text.strip()[:300]}", _FIX
        )


_FIX = "see logs/plane.log in the report, then run again"
_HANGS_FIX = (
    "removing a toxic can hang inside Toxiproxy (its issue 558): the arm is of no more use, run again"
)
