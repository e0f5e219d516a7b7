"""Fills a service with the dataset's rows the way its operators would: `COPY` into PostgreSQL, a pipeline into Redis.

Takes a running, healthy container and the tables of a dataset bundle, gives a `SeedReport` of what the service itself
confirmed. Both go through the service's own client inside its container (`psql`, `redis-cli`), so no port of it is
published and nothing passes the plane before the load does. A service that took fewer rows than it was given is an error:
a run on half the data would compare nothing.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from harness.driver.base import Driver
from harness.errors import EngineError
from harness.model.environment import PostgresSeed, RedisHash, RedisSeed, Seed

if TYPE_CHECKING:
    import pyarrow as pa

LIMIT_S = 120.0
CHUNK_ROWS = 5_000
_OUTPUT_CHARS = 400


class Tables(Protocol):
    """Where rows come from: a dataset bundle, or anything else that has tables by name."""

    def table(self, name: str) -> pa.Table:
        """Raises KeyError for an unknown table."""


@dataclass(frozen=True)
class SeedReport:
    """What a service confirmed to have taken: rows by table, or hashes by table."""

    service: str
    rows: Mapping[str, int]

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {table}" for table, count in self.rows.items())
        return f"{self.service} with {counts or 'its schema alone'}"


@dataclass(frozen=True)
class _Target:
    """A container that is being seeded."""

    driver: Driver
    container: str
    service: str

    def run(self, command: tuple[str, ...], stdin: bytes, doing: str) -> str:
        """Standard output. Raises EngineError with the client's own words."""
        result = self.driver.execute(self.container, command, stdin, LIMIT_S)
        if result.exit_code != 0:
            said = (result.stderr or result.stdout).decode("utf-8", "replace").strip()
            raise self.failed(doing, said[-_OUTPUT_CHARS:] or f"exit code {result.exit_code}")
        return result.stdout.decode("utf-8", "replace")

    def failed(self, doing: str, said: str) -> EngineError:
        return EngineError(
            f"seeding {self.service}: {doing}: {said}",
            f"check `seed:` of {self.service} in the environment against the dataset's tables and the service's schema",
        )


def seed_service(
    driver: Driver, container: str, service: str, seed: Seed, tables: Tables, read: Callable[[str], bytes]
) -> SeedReport:
    """Fill one service. `read` opens a file that the environment names. Raises EngineError when anything was not taken."""
    target = _Target(driver, container, service)
    if isinstance(seed, PostgresSeed):
        return _seed_postgres(target, seed, tables, read)
    return _seed_redis(target, seed, tables)


def _seed_postgres(
    target: _Target, seed: PostgresSeed, tables: Tables, read: Callable[[str], bytes]
) -> SeedReport:
    """Schema first, then each table by COPY in the order given, then statistics for the planner."""
    psql = (
        "psql",
        "--no-psqlrc",
        "--set=ON_ERROR_STOP=1",
        f"--username={seed.user}",
        f"--dbname={seed.database}",
    )
    if seed.schema_file is not None:
        target.run((*psql, "--quiet", "--file=-"), read(seed.schema_file), f"running {seed.schema_file}")
    taken = {}
    for name in seed.tables:
        table = tables.table(name)
        columns = ", ".join(_quoted(column) for column in table.column_names)
        copy = f"COPY {_quoted(name)} ({columns}) FROM STDIN (FORMAT csv)"
        said = target.run((*psql, f"--command={copy}"), _csv(table), f"copying table {name}")
        found = re.search(r"^COPY (\d+)$", said, re.MULTILINE)
        taken[name] = int(found[1]) if found else 0
        if taken[name] != table.num_rows:
            raise target.failed(f"copying table {name}", f"{taken[name]} of {table.num_rows} rows were taken")
    if taken:
        analyze = "ANALYZE " + ", ".join(map(_quoted, taken))
        target.run((*psql, f"--command={analyze}"), b"", "gathering statistics")
    return SeedReport(target.service, taken)


def _quoted(identifier: str) -> str:
    """An SQL identifier as it is, whatever it holds."""
    return '"' + identifier.replace('"', '""') + '"'


def _csv(table: pa.Table) -> bytes:
    """COPY's CSV: an empty field is NULL, an empty text is quoted."""
    lines = (",".join(_field(value) for value in row.values()) for row in _rows(table))
    return "".join(f"{line}\n" for line in lines).encode()


def _field(value: object) -> str:
    return "" if value is None else '"' + str(value).replace('"', '""') + '"'


def _seed_redis(target: _Target, seed: RedisSeed, tables: Tables) -> SeedReport:
    """All hashes in one pipeline; Redis says how many commands it took and how many it refused."""
    taken = {}
    for item in seed.hashes:
        commands = b"".join(_hash_commands(item, tables.table(item.table)))
        if not commands:
            raise target.failed(f"table {item.table}", "it has no rows")
        said = target.run(
            ("redis-cli", "-p", str(seed.port), "--pipe"), commands, f"loading hashes from table {item.table}"
        )
        found = re.search(r"errors: (\d+), replies: (\d+)", said)
        replies, errors = (int(found[2]), int(found[1])) if found else (0, 0)
        wanted = tables.table(item.table).num_rows
        if errors or replies != wanted:
            what = f"{replies - errors} of {wanted} hashes were taken"
            raise target.failed(f"loading hashes from table {item.table}", what)
        taken[item.table] = wanted
    return SeedReport(target.service, taken)


def _hash_commands(item: RedisHash, table: pa.Table) -> Iterator[bytes]:
    """One HSET a row; missing values are left out, as a hash has no NULL."""
    named = [name for _, name, _, _ in string.Formatter().parse(item.key) if name]
    wanted = item.fields or tuple(column for column in table.column_names if column not in named)
    for row in _rows(table):
        pairs = [text for name in wanted if row[name] is not None for text in (name, str(row[name]))]
        yield _command("HSET", item.key.format_map(row), *pairs)


def _command(*words: str) -> bytes:
    """One command as Redis reads it (RESP2, an array of bulk strings)."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=CHUNK_ROWS):
        yield from batch.to_pylist()
