"""Marries arrival times to a dataset: arrival k makes the request (or requests) that row k of a table describes.

Takes the definition, where its parts stand in its file, the arrivals and the dataset's tables; gives exchanges, and
adds everything that does not fit to the problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import pyarrow as pa

from harness.errors import Location
from harness.model.recording import (
    Exchange,
    Headers,
    RecordingDefinition,
    RequestTemplate,
    check_headers,
    check_path,
    json_bytes,
    with_content_type,
)
from harness.recording.problems import Problems, did_you_mean
from harness.recording.templates import (
    EmptyValueError,
    JsonTemplate,
    Loc,
    Row,
    TextTemplate,
    percent_encoded,
)

Table = Callable[[str], pa.Table]
"""A table of the dataset bundle by name. Raises KeyError for an unknown one."""

Locate = Callable[[Loc], Location]
"""Where a key of the definition stands in its file."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Request:
    """One request template, parsed."""

    said: RequestTemplate
    loc: Loc
    path: TextTemplate
    client: TextTemplate
    headers: tuple[tuple[str, TextTemplate], ...]
    body: JsonTemplate | None

    def columns(self) -> Iterator[tuple[str, Loc]]:
        """Every column that is needed, with where it is named."""
        texts = [("path", self.path), ("client", self.client)]
        yield from ((column, (*self.loc, name)) for name, template in texts for column in template.columns)
        for name, template in self.headers:
            yield from ((column, (*self.loc, "headers", name)) for column in template.columns)
        if self.body is not None:
            yield from ((column, (*self.loc, "body", *loc)) for column, loc in self.body.columns)
        if self.said.key is not None:
            yield self.said.key, (*self.loc, "key")


def marry(
    definition: RecordingDefinition,
    locate: Locate,
    offsets_ns: Sequence[int],
    table: Table,
    problems: Problems,
) -> list[Exchange]:
    """One exchange per arrival and request, in no order yet and not numbered."""
    exchanges: list[Exchange] = []
    for index, said in enumerate(definition.templates):
        # A single request may stand under `requests:` itself; `locate` passes over the index then.
        loc: Loc = ("requests", index)
        request = _parse(said, loc, locate, problems)
        rows = _table(said, loc, locate, len(offsets_ns), table, problems)
        if request is not None and rows is not None and _columns_exist(request, rows, locate, problems):
            exchanges += _exchanges(request, locate, offsets_ns, rows, problems)
    return exchanges


def _parse(said: RequestTemplate, loc: Loc, locate: Locate, problems: Problems) -> _Request | None:
    def parsed(parse: Callable[[], T], *names: str) -> T | None:
        try:
            return parse()
        except ValueError as error:
            problems.add(locate((*loc, *names)), str(error), "correct the template")
            return None

    path = parsed(lambda: TextTemplate.parse(said.path), "path")
    client = parsed(lambda: TextTemplate.parse(said.client), "client")
    headers = {
        name: parsed(lambda value=value: TextTemplate.parse(value), "headers", name)  # type: ignore[misc]
        for name, value in said.headers.items()
    }
    has_body = "body" in said.model_fields_set
    body = parsed(lambda: JsonTemplate.parse(said.body), "body") if has_body else None
    if path is None or client is None or None in headers.values() or (has_body and body is None):
        return None
    whole = tuple((name, template) for name, template in headers.items() if template is not None)
    return _Request(said, loc, path, client, whole, body)


def _table(
    said: RequestTemplate, loc: Loc, locate: Locate, arrivals: int, table: Table, problems: Problems
) -> pa.Table | None:
    try:
        rows = table(said.table)
    except KeyError:
        what = f"the dataset has no table {said.table!r}"
        problems.add(locate((*loc, "table")), what, "name a table of the scenario's dataset")
        return None
    if rows.num_rows < arrivals:
        problems.add(
            locate((*loc, "table")),
            f"{arrivals} arrivals, but table {said.table!r} has only {rows.num_rows} rows",
            f"make the dataset larger, or keep only the first {rows.num_rows} arrivals",
        )
        return None
    return rows


def _columns_exist(request: _Request, rows: pa.Table, locate: Locate, problems: Problems) -> bool:
    unknown = [(column, loc) for column, loc in request.columns() if column not in rows.column_names]
    for column, loc in dict.fromkeys(unknown):
        what = f"table {request.said.table!r} has no column {column!r}"
        problems.add(locate(loc), what, did_you_mean(column, rows.column_names))
    return not unknown


def _exchanges(
    request: _Request, locate: Locate, offsets_ns: Sequence[int], rows: pa.Table, problems: Problems
) -> Iterator[Exchange]:
    columns = list(dict.fromkeys(column for column, _ in request.columns()))
    needed: list[Row] = rows.slice(0, len(offsets_ns)).select(columns).to_pylist() if columns else []
    keys: dict[str, int] = {}
    for number, offset_ns in enumerate(offsets_ns):
        try:
            exchange = _exchange(request, needed[number] if columns else {}, offset_ns)
        except EmptyValueError as error:
            what = f"row {number} (the first is 0) of table {request.said.table!r} has nothing in column {str(error)!r}"
            problems.add(_where(request, str(error), locate), what, "use a column that is never empty")
            continue
        except ValueError as error:
            problems.add(
                locate(request.loc),
                f"row {number} (the first is 0) of table {request.said.table!r}: {error}",
                "use another column",
            )
            continue
        if exchange.key in keys:
            what = (
                f"column {request.said.key!r} has {exchange.key!r} in rows {keys[exchange.key]} and {number}"
            )
            problems.add(
                locate((*request.loc, "key")),
                what,
                "a key joins one exchange to its label: use a unique column",
            )
        elif exchange.key:
            keys[exchange.key] = number
        yield exchange


def _exchange(request: _Request, row: Row, offset_ns: int) -> Exchange:
    """Raises EmptyValueError (a column without a value) and ValueError (something that cannot be sent)."""
    said = request.said
    key = TextTemplate((("", said.key),)).fill(row) if said.key is not None else ""
    headers: Headers = check_headers((name, template.fill(row)) for name, template in request.headers)
    exchange = Exchange(
        seq=0,
        at_ns=offset_ns + said.after.ns,
        client=request.client.fill(row),
        key=key,
        method=said.method,
        path=check_path(request.path.fill(row, percent_encoded)),
        route=said.route if said.route is not None else said.path.partition("?")[0],
        headers=with_content_type(headers, json_body=request.body is not None),
        body=json_bytes(request.body.fill(row)) if request.body is not None else b"",
    )
    exchange.line().encode("utf-8")
    return exchange


def _where(request: _Request, column: str, locate: Locate) -> Location:
    """The first place in the definition that names the column."""
    return locate(next(islice((loc for name, loc in request.columns() if name == column), 1)))
