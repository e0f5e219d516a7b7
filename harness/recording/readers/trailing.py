"""What follows the usual fields of an access log's line: named by the user, because nothing in a log says it.

Takes the option `fields` and the ends of lines, gives further columns and headers. Names are the servers' own, with or
without `$`; quoted or not is seen from the line:

* `request_time` (nginx, seconds; its log is written when the answer has been sent, so the request came that much
  before the time in the line), `%D`, `%{us}T` (Apache, microseconds), `%{ms}T`, `%T`, `%{s}T`: time to the answer
* `request_length` (nginx), `%I` (Apache): bytes of the request; `host`, `http_host`, `server_name`, `%v`; `scheme`
* `http_x_forwarded_for`, `%{X-Forwarded-For}i` and the like: a header; `_`: passed over
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.recording.captured import FRAMING_HEADERS
from harness.recording.readers.clock import LONGEST_NS, NS_PER_S, begun_and_answered
from harness.recording.readers.columns import encoded, through

TOO_FEW = "fewer fields at the end of the line than the option fields names"
NO_NUMBER = "a field at the end of the line that should be a number is none"

_APACHE_NS = {"%D": 1_000, "%{us}T": 1_000, "%{ms}T": 1_000_000, "%T": NS_PER_S, "%{s}T": NS_PER_S}
_BYTES = ("request_length", "%I")
_HOSTS = ("host", "http_host", "server_name", "%v", "%V")
_SKIP = "_"
_HEADER = re.compile(r"http_([a-z0-9_]+)|%\{([A-Za-z0-9-]+)\}i")
_KNOWN = ", ".join(("request_time", *_APACHE_NS, *_BYTES, *_HOSTS, "scheme", "http_NAME", "%{NAME}i"))
_NUMBER = r"^[0-9]{1,12}(?:\.[0-9]{1,9})?$"

Columns = MutableMapping[str, "pa.Array | npt.NDArray[np.generic]"]


@dataclass(frozen=True)
class Trailing:
    """The fields at the end of each line, by name."""

    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Trailing:
        """Raises ValueError."""
        names = tuple(name.strip().removeprefix("$") for name in text.split(","))
        for name in names:
            known = name in (*_APACHE_NS, *_BYTES, *_HOSTS, "request_time", "scheme", _SKIP)
            if not known and not _HEADER.fullmatch(name):
                raise ValueError(f"no field {name!r}; known: {_KNOWN}; _ for one that is to be passed over")
        twice = [name for name in names if names.count(name) > 1 and name != _SKIP]
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice")
        if sum(name in (*_APACHE_NS, "request_time") for name in names) > 1:
            raise ValueError("more than one time to the answer")
        return cls(names)

    @property
    def written(self) -> str:
        """The column of captured batches that holds the time in the line."""
        return "answered_ns" if "request_time" in self.names else "at_ns"

    def into(
        self, columns: Columns, tails: pa.Array, wrong: dict[int, str]
    ) -> list[tuple[str, pa.DictionaryArray]]:
        """Add the columns, and reasons to `wrong`; gives the headers. `columns` holds `at_ns` already."""
        if not self.names:
            return []
        fields = "".join(_field(place) for place in range(len(self.names)))
        found = pc.extract_regex(tails, f"^{fields}(?: .*)?$")
        for row in np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False)).tolist():
            wrong.setdefault(row, TOO_FEW)
        headers = []
        for place, name in enumerate(self.names):
            header = _HEADER.fullmatch(name) if name not in _HOSTS else None
            if name == _SKIP:
                continue
            quoted, plain = (found.field(f"{kind}{place}") for kind in "qp")
            values = encoded(pc.fill_null(pc.if_else(pc.equal(plain, ""), quoted, plain), "-"))
            if header is not None:
                header_name = (header[1] or header[2]).replace("_", "-").lower()
                if header_name not in FRAMING_HEADERS:
                    headers.append((header_name, values))
            else:
                _put(columns, name, values, wrong)
        return headers


def _field(place: int) -> str:
    """A pattern with a group for the field quoted and one for it plain."""
    return rf' (?:"(?P<q{place}>(?:[^"\\]|\\.)*)"|(?P<p{place}>[^ "][^ ]*))'


def _put(columns: Columns, name: str, values: pa.DictionaryArray, wrong: dict[int, str]) -> None:
    if name in _HOSTS or name == "scheme":
        texts = pc.utf8_lower(values.dictionary)
        given = through(values, pc.if_else(pc.equal(texts, "-"), "", texts))
        columns["scheme" if name == "scheme" else "host"] = given
        return
    number = _numbers(values, wrong)
    if name in _BYTES:
        columns["request_bytes"] = np.where(np.isnan(number), -1, number).astype(np.int64)
        return
    spent = np.rint(np.minimum(number * _APACHE_NS.get(name, NS_PER_S), 2.0 * LONGEST_NS))
    spent_ns = np.where(np.isnan(spent), -1, spent).astype(np.int64)
    written = np.asarray(columns["at_ns"], np.int64)
    at_end = name == "request_time"
    columns["at_ns"], columns["answered_ns"] = begun_and_answered(written, spent_ns, at_end, wrong)


def _numbers(values: pa.DictionaryArray, wrong: dict[int, str]) -> npt.NDArray[np.float64]:
    """NaN where the field is `-`, or no number."""
    texts = values.dictionary
    right = pc.match_substring_regex(texts, _NUMBER)
    numbers = pc.if_else(right, texts, None).cast(pa.float64()).fill_null(float("nan"))
    bad = ~(right.to_numpy(zero_copy_only=False) | pc.equal(texts, "-").to_numpy(zero_copy_only=False))
    places = values.indices.to_numpy()
    for row in np.flatnonzero(bad[places]).tolist():
        wrong.setdefault(row, NO_NUMBER)
    of_rows: npt.NDArray[np.float64] = numbers.to_numpy(zero_copy_only=False)[places]
    return of_rows
