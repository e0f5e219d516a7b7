"""What the tests of the READMEs share: their fenced examples and their tables. Holds no test."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """A fenced example. `file` is where its first line says that it lies, `output` what a script there writes."""

    language: str
    text: str
    file: str
    output: str


def read(readme: str) -> str:
    return (ROOT / readme).read_text(encoding="utf-8")


def blocks(readme: str, language: str = r"\w+") -> Iterator[Block]:
    """Its fenced examples in that language, in order."""
    for _, kind, body in re.findall(
        rf"^( *)```({language})\n(.*?)^\1```$", read(readme), re.DOTALL | re.MULTILINE
    ):
        text = textwrap.dedent(body)
        named = re.match(r"# (\S+/\S+\.?\w+)(?: > (\S+))?\n", text)
        yield Block(kind, text, *((named[1], named[2] or "") if named else ("", "")))


def rows(readme: str, first: str, last: str = "") -> list[list[str]]:
    """The cells of the table whose first and last columns have these headings."""
    headed = re.search(rf"^\| {first} \|.*{last} \|\n\|.*\n((?:\|.*\n)+)", read(readme), re.MULTILINE)
    assert headed, f"{readme} has no table of {first} with {last}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in headed[1].splitlines()]


def coded(cell: str) -> list[str]:
    """The `names` in a cell."""
    return re.findall(r"`(\w+)", cell)
