"""Does a definition hold together, and does everything exist that it names? One function a kind of file.

Takes a loaded definition, gives a list of problems (empty: none), each at its place. What lies between a change and its
environment is checked where both are known (`harness.prepare`).
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable

from harness.errors import Problem
from harness.loading import Loaded, missing_path
from harness.model.change import Change, Version
from harness.model.environment import CLIENT, Build, Environment
from harness.model.scenario import Scenario, SteadyUnit
from harness.timeline import unit_name
from harness.yaml_source import Loc


def environment_problems(loaded: Loaded[Environment]) -> list[Problem]:
    """Edges and entries lead somewhere, names are unique, the start order can be met, files exist."""
    environment = loaded.value
    services = list(environment.services)
    problems: list[Problem] = []
    for index, edge in enumerate(environment.edges):
        for key, name in (("from", edge.caller), ("to", edge.callee)):
            if name not in environment.services:
                what = f"this edge leads {key} {name!r}, which is no service"
                problems.append(
                    Problem(loaded.locate(("edges", index, key)), what, _did_you_mean(name, services))
                )
    for entry, definition in environment.entries.items():
        if definition.service not in environment.services:
            what = f"entry {entry!r} leads to {definition.service!r}, which is no service"
            where = loaded.locate(("entries", entry, "to"))
            problems.append(Problem(where, what, _did_you_mean(definition.service, services)))
    problems += _duplicate_edges(loaded) + _entry_ports(loaded)
    for name, service in environment.services.items():
        loc: Loc = ("services", name)
        for index, other in enumerate(service.after):
            if other not in environment.services:
                what = f"{name} is to start after {other!r}, which is no service"
                where = loaded.locate((*loc, "after", index))
                problems.append(Problem(where, what, _did_you_mean(other, services)))
        problems += _missing_files(loaded, (*loc, "files"), service.files)
        problems += _missing_build(loaded, (*loc, "build"), service.build)
        schema = getattr(service.seed, "schema_file", None)
        if schema is not None and not (loaded.path.parent / schema).exists():
            problems.append(missing_path(loaded, (*loc, "seed", "schema_file"), schema))
    return problems or _order_and_reach(loaded)


def _duplicate_edges(loaded: Loaded[Environment]) -> list[Problem]:
    """Names must be unique, and one caller may reach one host and port on one edge only."""
    edges = loaded.value.edges
    problems = []
    names = Counter(edge.name for edge in loaded.value.all_edges())
    ways = Counter((edge.caller, edge.host_name, edge.port) for edge in edges)
    for index, edge in enumerate(edges):
        way = (edge.caller, edge.host_name, edge.port)
        if names[edge.name] > 1:
            names[edge.name] = 0  # said once
            what = f"more than one edge is named {edge.name!r}"
            problems.append(Problem(loaded.locate(("edges", index)), what, "give each a `name:` of its own"))
        elif ways[way] > 1:
            ways[way] = 0
            what = f"{edge.caller} has more than one edge to {edge.host_name}:{edge.port}"
            problems.append(
                Problem(loaded.locate(("edges", index)), what, "remove one, or give it another `host:`")
            )
    return problems


def _entry_ports(loaded: Loaded[Environment]) -> list[Problem]:
    taken: dict[int, str] = {}
    problems = []
    for name, entry in loaded.value.entries.items():
        if entry.port in taken:
            what = f"entry {name!r} uses port {entry.port}, which entry {taken[entry.port]!r} uses already"
            where = loaded.locate(("entries", name, "port"))
            problems.append(Problem(where, what, "entries share one address: give each a port of its own"))
        taken.setdefault(entry.port, name)
    return problems


def _order_and_reach(loaded: Loaded[Environment]) -> list[Problem]:
    """Asked only of a graph whose names are all right."""
    environment = loaded.value
    try:
        environment.start_order()
    except ValueError as error:
        where = loaded.locate(("services",))
        return [Problem(where, str(error), "remove one of their `after:`")]
    users = {edge.caller for edge in environment.edges} | {CLIENT}
    apart = [
        name for name in environment.services if name not in environment.reachable() and name not in users
    ]
    return [
        Problem(
            loaded.locate(("services", name)),
            f"no edge leads to {name} and none leads from it",
            "add its edges, or remove it: what no traffic passes cannot be judged",
        )
        for name in apart
    ]


def scenario_problems(loaded: Loaded[Scenario]) -> list[Problem]:
    """Files exist and units have names of their own."""
    scenario = loaded.value
    problems = []
    wanted = {
        "environment": scenario.environment,
        "dataset": scenario.dataset,
        "recording": scenario.recording,
        "answers": scenario.answers,
    }
    for key, relative in wanted.items():
        if relative is not None and not (loaded.path.parent / relative).exists():
            problems.append(missing_path(loaded, (key,), relative))
    seen: dict[str, int] = {}
    for index, item in enumerate(scenario.timeline):
        name = unit_name(scenario, index)
        if name in seen:
            key = "steady" if isinstance(item, SteadyUnit) else "fault"
            what = f"unit {name!r} is there already, as number {seen[name] + 1}"
            fix = "give one another name" if key == "steady" else "give one a `name:`"
            problems.append(Problem(loaded.locate(("timeline", index, key)), what, fix))
        seen.setdefault(name, index)
    return problems


def change_problems(loaded: Loaded[Change]) -> list[Problem]:
    """Files exist, and the candidate differs from the baseline."""
    change = loaded.value
    problems = []
    for index, relative in enumerate(change.scenarios):
        if not (loaded.path.parent / relative).exists():
            problems.append(missing_path(loaded, ("scenarios", index), relative))
    for name, touched in change.services.items():
        loc: Loc = ("services", name)
        if touched.baseline is not None and touched.baseline == touched.candidate:
            what = f"candidate and baseline of {name} are the same"
            problems.append(
                Problem(loaded.locate((*loc, "candidate")), what, "say what is different in the candidate")
            )
        for side, version in (("baseline", touched.baseline), ("candidate", touched.candidate)):
            if version is not None:
                problems += _version(loaded, (*loc, side), version)
    return problems


def _version(loaded: Loaded[Change], loc: Loc, version: Version) -> list[Problem]:
    return _missing_files(loaded, (*loc, "files"), version.files) + _missing_build(
        loaded, (*loc, "build"), version.build
    )


def _missing_files(
    loaded: Loaded[Environment] | Loaded[Change], loc: Loc, files: dict[str, str]
) -> list[Problem]:
    return [
        missing_path(loaded, (*loc, path), relative)
        for path, relative in files.items()
        if not (loaded.path.parent / relative).is_file()
    ]


def _missing_build(
    loaded: Loaded[Environment] | Loaded[Change], loc: Loc, build: Build | None
) -> list[Problem]:
    if build is None:
        return []
    if not (loaded.path.parent / build.context).is_dir():
        return [missing_path(loaded, (*loc, "context"), build.context)]
    if not (loaded.path.parent / build.context / build.dockerfile).is_file():
        return [missing_path(loaded, (*loc, "dockerfile"), f"{build.context}/{build.dockerfile}")]
    return []


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
