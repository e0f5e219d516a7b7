"""A YAML file that remembers where everything stands.

Takes a path, gives the parsed value together with the positions of every key and value, so that whatever is found
wrong later can be shown at its place. What is wrong with the file itself is found here: no file, no text, no YAML,
keys that stand twice, values that cannot be read, and files, nesting and anchors that would eat the machine.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import DefinitionError, Location, Problem

MOST_BYTES = 2**20
MOST_VALUES = 100_000
"""Values after every anchor was followed: ten lines of anchors can stand for more than a machine can hold."""
SOURCE_CHARS = 150
TEXT_CHARS = 60
Loc = tuple[str | int, ...]
MERGE_TAG = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class YamlSource:
    """One file: its parsed value and the node tree that knows the positions."""

    path: Path
    content: bytes
    value: Any
    node: yaml.Node
    lines: tuple[str, ...] = field(repr=False)

    def locate(self, loc: Loc, key: bool = False) -> Location:
        """The place of `loc` (mapping keys and list indexes); `key` asks for the key rather than its value.

        Steps that do not exist in the file are passed over, so the nearest place that does exist is given.
        """
        node, key_node = self.node, None
        for step in loc:
            found = _child(node, step)
            if found is not None:
                key_node, node = found
        return self._place(key_node if key and key_node is not None else node, key_node)

    def key_location(self, loc: Loc) -> Location:
        """The place of the last key of `loc`, or of what is there of it."""
        return self.locate(loc, key=True)

    def text(self, loc: Loc) -> str | None:
        """A single value as the user wrote it, shortened; None where `loc` is a mapping, a list or nothing."""
        return _text(self._node(loc))

    def key_text(self, loc: Loc) -> str | None:
        """The last key of `loc` as the user wrote it."""
        node, key = self.node, None
        for step in loc:
            key, node = _child(node, step) or (None, node)
        return _text(key)

    def has(self, loc: Loc) -> bool:
        """Whether every step of `loc` exists in the file."""
        return self._node(loc) is not None

    def _node(self, loc: Loc) -> yaml.Node | None:
        node = self.node
        for step in loc:
            found = _child(node, step)
            if found is None:
                return None
            node = found[1]
        return node

    def _place(self, node: yaml.Node, key_node: yaml.Node | None) -> Location:
        """A block that spans lines is shown by its key (or its first), as nobody wants a whole block underlined."""
        if node.end_mark.line > node.start_mark.line and not isinstance(node, yaml.ScalarNode):
            if key_node is not None:
                node = key_node
            elif isinstance(node, yaml.MappingNode) and node.value:
                node = node.value[0][0]
        return place(self.path, self.lines, node.start_mark, node.end_mark)


def place(
    path: Path, lines: tuple[str, ...], start: yaml.Mark | yaml.error.Mark, end: yaml.error.Mark | None = None
) -> Location:
    """Line and column of a mark, with the source line where it is short enough to be of help."""
    number = min(start.line, max(len(lines) - 1, 0))
    source = lines[number].replace("\t", " ") if lines else ""
    column = min(start.column, len(source))
    width = len(source) - column
    if end is None:
        width = 1
    elif end.line == start.line:
        width = end.column - start.column
    if column + width > SOURCE_CHARS:
        return Location(str(path), number + 1, column + 1)
    if len(source) > SOURCE_CHARS:
        source = source[:SOURCE_CHARS] + "…"
    return Location(str(path), number + 1, column + 1, source, max(width, 1))


def read_yaml(path: Path) -> YamlSource:
    """Read and parse. Raises DefinitionError for a file that is missing, unreadable, no YAML or not a mapping."""
    content = _read(path)
    text = _decode(path, content)
    lines = tuple(text.splitlines())
    try:
        node = _compose(path, text, lines)
        value = _value(path, text, node, lines)
    except yaml.MarkedYAMLError as error:
        raise DefinitionError([_yaml_problem(path, error, lines)]) from None
    except yaml.reader.ReaderError as error:
        raise DefinitionError([_character_problem(path, error, text)]) from None
    except RecursionError:
        raise DefinitionError.at(
            path, "nested too deeply", "a definition is flat: is this the right file?"
        ) from None
    if not isinstance(value, dict):
        found = "list" if isinstance(value, list) else "single value"
        where = place(path, lines, node.start_mark)
        raise DefinitionError(
            [Problem(where, f"a mapping of keys is expected, this is a {found}", "write `key: value` lines")]
        )
    return YamlSource(path, content, value, node, lines)


def _compose(path: Path, text: str, lines: tuple[str, ...]) -> yaml.Node:
    """The tree with its positions: not empty, of a bearable size, no key twice."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        raise _empty(path)
    _bounded(path, node, lines)
    problems = list(_duplicates(path, node, lines))
    if problems:
        raise DefinitionError(problems)
    return node


def _value(path: Path, text: str, node: yaml.Node, lines: tuple[str, ...]) -> object:
    try:
        value: object = yaml.safe_load(text)
    except ValueError:
        raise DefinitionError(_unreadable_values(path, node, lines)) from None
    if value is None:
        raise _empty(path)
    return value


def _empty(path: Path) -> DefinitionError:
    return DefinitionError.at(
        path, "the file is empty", "write a definition; `readiness init` makes an example"
    )


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise DefinitionError.at(path, "this is a folder", "name the YAML file in it")
        if not stat.S_ISREG(path.stat().st_mode):
            raise DefinitionError.at(path, "this is no plain file", "name a YAML file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise DefinitionError.at(path, "there is no such file", _nearest(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DefinitionError.at(
            path, f"cannot be read: {reason}", "check its name and permissions"
        ) from None
    if len(content) > MOST_BYTES:
        raise DefinitionError.at(
            path, f"larger than {MOST_BYTES // 2**20} MiB", "a definition is small: is this the right file?"
        )
    return content


def _nearest(path: Path) -> str:
    from harness.wording import did_you_mean

    try:
        beside = [item.name for item in path.parent.iterdir()]
    except OSError:
        return f"there is no folder {str(path.parent)!r} either"
    return did_you_mean(path.name, beside, otherwise="check the name and the folder")


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        what = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise DefinitionError([Problem(Location(str(path), line), what, "save the file as UTF-8")]) from None


def _yaml_problem(path: Path, error: yaml.MarkedYAMLError, lines: tuple[str, ...]) -> Problem:
    mark = error.problem_mark or error.context_mark
    said = error.problem or error.context or "not understood"
    what = f"this is no YAML: {said}"
    fix = "correct the YAML here or just above"
    if "'\\t'" in said:
        fix = "YAML indents with spaces, never with tabs"
    elif "expected a single document" in said:
        fix = "one file holds one definition: take out the `---` line"
    elif "could not determine a constructor" in said:
        fix = "take the tag away: definitions hold plain values only"
    if mark is None:
        return Problem(Location(str(path)), what, fix)
    return Problem(place(path, lines, mark), what, fix)


def _character_problem(path: Path, error: yaml.reader.ReaderError, text: str) -> Problem:
    """The line is not shown: it holds what a terminal should not get."""
    position = error.position if isinstance(error.position, int) else 0
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    where = Location(str(path), line, column)
    code = error.character if isinstance(error.character, int) else ord(str(error.character)[:1] or "\0")
    return Problem(where, f"character U+{code:04X} is not allowed in YAML", "remove it")


def _text(node: yaml.Node | None) -> str | None:
    if not isinstance(node, yaml.ScalarNode):
        return None
    text = str(node.value)
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…"


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
    """The key's node and the value's node of one step; merged mappings (`<<`) are looked into last."""
    if isinstance(node, yaml.MappingNode):
        merged: list[yaml.Node] = []
        for key, value in node.value:
            if key.tag == MERGE_TAG:
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
            elif _is_key(key, step):
                return key, value
        for mapping in reversed(merged):
            found = _child(mapping, step)
            if found is not None:
                return found
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
        return None, node.value[step]
    return None


def _is_key(key: yaml.Node, step: str | int) -> bool:
    """`on:` is the key True and `8080:` a number for YAML; a loc may hold either form."""
    if key.value == str(step):
        return True
    return isinstance(step, int) and isinstance(key, yaml.ScalarNode) and bool(_construct(key) == step)


def _construct(node: yaml.ScalarNode) -> object:
    """The value of one scalar. Raises ValueError or YAMLError for one that cannot be read."""
    value: object = yaml.SafeLoader("").construct_object(node)
    return value


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Every node once, however many anchors lead to it."""
    stack, seen = [root], set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        stack += reversed(list(_parts(node)))


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _bounded(path: Path, root: yaml.Node, lines: tuple[str, ...]) -> None:
    """Raises DefinitionError for anchors that multiply beyond MOST_VALUES or that contain themselves."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node))
        if known is None:
            sizes[id(node)] = -1
            known = sizes[id(node)] = 1 + sum(size(part) for part in _parts(node))
        if known < 0:
            where = place(path, lines, node.start_mark)
            raise DefinitionError([Problem(where, "this anchor contains itself", "write out what is meant")])
        return known

    total = size(root)
    if total > MOST_VALUES:
        raise DefinitionError.at(
            path,
            f"it stands for more than {MOST_VALUES:,} values, anchors followed",
            "a definition is small: is this the right file?",
        )


def _duplicates(path: Path, root: yaml.Node, lines: tuple[str, ...]) -> Iterator[Problem]:
    """Keys that stand twice in one mapping: PyYAML keeps the last and says nothing."""
    for node in _nodes(root):
        if not isinstance(node, yaml.MappingNode):
            continue
        first: dict[str, int] = {}
        for key, _value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE_TAG:
                continue
            name = str(key.value)
            if name in first:
                where = place(path, lines, key.start_mark, key.end_mark)
                yield Problem(
                    where,
                    f"key {name!r} stands here again",
                    f"it is in line {first[name]} already: remove one",
                )
            first.setdefault(name, key.start_mark.line + 1)


def _unreadable_values(path: Path, root: yaml.Node, lines: tuple[str, ...]) -> list[Problem]:
    """Values that YAML takes for a date or a number and that are none, such as 2026-13-45."""
    problems = []
    for node in _nodes(root):
        if isinstance(node, yaml.ScalarNode):
            try:
                _construct(node)
            except (ValueError, yaml.YAMLError) as error:
                kind = node.tag.rpartition(":")[2]
                where = place(path, lines, node.start_mark, node.end_mark)
                text = str(node.value)[:TEXT_CHARS]
                problems.append(
                    Problem(
                        where,
                        f"{text!r} is no {kind}: {error}",
                        "correct it, or put it in quotes if it is text",
                    )
                )
    return problems or [Problem(Location(str(path)), "a value in it cannot be read", "put text in quotes")]
