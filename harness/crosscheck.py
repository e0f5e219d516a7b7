"""Does a definition hold together, and does everything exist that it names? One function a kind of file.

Takes loaded definitions, gives a list of problems (empty: none), each at its place. `change_fits`, `entry_fits` and
`seeding_fits` look at two or three files at once, for whoever has all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from harness.errors import Problem
from harness.loading import Loaded, exists, missing_path
from harness.model.change import Change, ChangedService
from harness.model.dataset import Dataset
from harness.model.dataset_misfits import misfits
from harness.model.environment import CLIENT, RESERVED_PORTS, Build, Environment, PostgresSeed, Service
from harness.model.scenario import Scenario, SteadyUnit
from harness.timeline import unit_name
from harness.wording import did_you_mean, listed
from harness.yaml_source import Loc

RESERVED_NAMES = {
    CLIENT: "that is the caller of every entry",
    "plane": "that is the container every edge passes through",
}


def environment_problems(loaded: Loaded[Environment]) -> list[Problem]:
    """Edges and entries lead somewhere, names are unique, the start order can be met, files exist."""
    environment = loaded.value
    problems = _edge_ends(loaded) + _duplicate_edges(loaded) + _entries(loaded)
    for name, service in environment.services.items():
        loc: Loc = ("services", name)
        if name in RESERVED_NAMES:
            what = f"no service can be named {name!r}: {RESERVED_NAMES[name]}"
            problems.append(Problem(loaded.locate(loc, key=True), what, "give it another name"))
        for index, other in enumerate(service.after):
            if other not in environment.services:
                what = f"{name} is to start after {other!r}, which is no service"
                where = loaded.locate((*loc, "after", index))
                problems.append(Problem(where, what, did_you_mean(other, environment.services)))
        problems += _missing_files(loaded, (*loc, "files"), service.files)
        problems += _missing_build(loaded, (*loc, "build"), service.build)
        schema = service.seed.schema_file if isinstance(service.seed, PostgresSeed) else None
        if schema is not None and not exists(loaded.path.parent / schema, "file"):
            problems.append(missing_path(loaded, (*loc, "seed", "schema_file"), schema, "file"))
    return _in_order(problems or _order_and_reach(loaded))


def scenario_problems(loaded: Loaded[Scenario]) -> list[Problem]:
    """Files exist and units have names of their own."""
    scenario = loaded.value
    wanted = {
        "environment": (scenario.environment, "file"),
        "dataset": (scenario.dataset, "file"),
        "recording": (scenario.recording, "any"),
        "answers": (scenario.answers, "file"),
    }
    problems = [
        missing_path(loaded, (key,), relative, kind)
        for key, (relative, kind) in wanted.items()
        if relative is not None and not exists(loaded.path.parent / relative, kind)
    ]
    seen: dict[str, int] = {}
    for index, item in enumerate(scenario.timeline):
        name = unit_name(scenario, index)
        if name in seen:
            key = "steady" if isinstance(item, SteadyUnit) else "fault"
            what = f"unit {name!r} is there already, as item {seen[name] + 1} of the timeline"
            fix = "give one another name" if key == "steady" else "give one a `name:` of its own"
            problems.append(Problem(loaded.locate(("timeline", index, key)), what, fix))
        seen.setdefault(name, index)
    return _in_order(problems)


def change_problems(loaded: Loaded[Change]) -> list[Problem]:
    """Files exist, and the candidate differs from the baseline."""
    change = loaded.value
    problems = [
        missing_path(loaded, ("scenarios", index), relative, "file")
        for index, relative in enumerate(change.scenarios)
        if not exists(loaded.path.parent / relative, "file")
    ]
    for name, touched in change.services.items():
        loc: Loc = ("services", name)
        if touched.baseline is not None and touched.baseline == touched.candidate:
            problems.append(_nothing_changes(loaded, name, "its baseline"))
        for side, version in (("baseline", touched.baseline), ("candidate", touched.candidate)):
            if version is not None:
                problems += _missing_files(loaded, (*loc, side, "files"), version.files)
                problems += _missing_build(loaded, (*loc, side, "build"), version.build)
    return _in_order(problems)


def dataset_problems(loaded: Loaded[Dataset]) -> list[Problem]:
    """Tables, variables, references and labels fit each other, and the sample exists."""
    problems = [
        Problem(loaded.locate(misfit.loc), misfit.what, misfit.fix) for misfit in misfits(loaded.value)
    ]
    csv = loaded.value.source.csv if loaded.value.source is not None else None
    if csv is not None and not exists(loaded.path.parent / csv, "file"):
        problems.append(missing_path(loaded, ("source", "csv"), csv, "file"))
    return _in_order(problems)


def change_fits(change: Loaded[Change], environment: Loaded[Environment]) -> list[Problem]:
    """Every service of the change exists in the environment, and its candidate is not what stands there already."""
    services = environment.value.services
    problems = []
    for name, touched in change.value.services.items():
        if name not in services:
            what = f"no service {name!r} in environment {environment.value.environment!r}"
            where = change.locate(("services", name), key=True)
            problems.append(Problem(where, what, did_you_mean(name, services)))
        elif _says_the_same(touched, services[name]):
            problems.append(_nothing_changes(change, name, f"what {environment.path.name} says already"))
    return problems


def entry_fits(scenario: Loaded[Scenario], environment: Loaded[Environment]) -> list[Problem]:
    """The entry that the recording is sent to exists."""
    name, entries = scenario.value.entry, environment.value.entries
    if name in entries:
        return []
    what = f"no entry {name!r} in environment {environment.value.environment!r}"
    return [Problem(scenario.locate(("entry",)), what, did_you_mean(name, entries))]


def seeding_fits(
    scenario: Loaded[Scenario], environment: Loaded[Environment], dataset: Loaded[Dataset] | None
) -> list[Problem]:
    """What services are seeded with exists in the dataset."""
    seeded = {name: service.seed for name, service in environment.value.services.items() if service.seed}
    if not seeded:
        return []
    if dataset is None:
        what = f"{listed(seeded)} of environment {environment.value.environment!r} are to be seeded"
        where = scenario.locate(("environment",))
        return [Problem(where, what, "give the scenario a `dataset:`")]
    known = dataset.value.tables
    problems = []
    for name, seed in seeded.items():
        loc: Loc = ("services", name, "seed")
        if isinstance(seed, PostgresSeed):
            wanted = {(*loc, "tables", index): table for index, table in enumerate(seed.tables)}
        else:
            wanted = {(*loc, "hashes", index, "table"): item.table for index, item in enumerate(seed.hashes)}
        for place, table in wanted.items():
            if table not in known:
                what = f"no table {table!r} in dataset {dataset.value.dataset!r}"
                problems.append(Problem(environment.locate(place), what, did_you_mean(table, known)))
    return problems


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.where.line or 0, problem.where.column or 0))


def _edge_ends(loaded: Loaded[Environment]) -> list[Problem]:
    services = loaded.value.services
    problems = []
    for index, edge in enumerate(loaded.value.edges):
        for key, name in (("from", edge.caller), ("to", edge.callee)):
            if name not in services:
                what = f"this edge leads {key} {name!r}, which is no service"
                where = loaded.locate(("edges", index, key))
                problems.append(Problem(where, what, did_you_mean(name, services)))
    return problems


def _duplicate_edges(loaded: Loaded[Environment]) -> list[Problem]:
    """Names must be unique, and one caller may reach one host and port on one edge only."""
    problems = []
    names = Counter(edge.name for edge in loaded.value.all_edges())
    ways = Counter((edge.caller, edge.host_name, edge.port) for edge in loaded.value.edges)
    for index, edge in enumerate(loaded.value.edges):
        way = (edge.caller, edge.host_name, edge.port)
        where = loaded.locate(("edges", index))
        if ways[way] > 1:
            ways[way] = names[edge.name] = 0  # said once
            what = f"{edge.caller} has more than one edge to {edge.host_name}:{edge.port}"
            problems.append(Problem(where, what, "remove one, or give it another `host:`"))
        elif names[edge.name] > 1:
            names[edge.name] = 0
            what = f"more than one edge is named {edge.name!r}"
            problems.append(Problem(where, what, "give each a `name:` of its own"))
    return problems


def _entries(loaded: Loaded[Environment]) -> list[Problem]:
    environment = loaded.value
    taken: dict[int, str] = {}
    problems = []
    for name, entry in environment.entries.items():
        loc: Loc = ("entries", name)
        if entry.service not in environment.services:
            what = f"entry {name!r} leads to {entry.service!r}, which is no service"
            fix = did_you_mean(entry.service, environment.services)
            problems.append(Problem(loaded.locate((*loc, "to")), what, fix))
        where = loaded.locate((*loc, "port"))
        if entry.port in taken:
            what = f"entry {name!r} uses port {entry.port}, which entry {taken[entry.port]!r} uses already"
            problems.append(Problem(where, what, "entries share one address: give each a port of its own"))
        elif entry.port in RESERVED_PORTS:
            what = f"entry {name!r} uses port {entry.port}, which is the fault plane's own"
            problems.append(Problem(where, what, "let the service listen on another port"))
        taken.setdefault(entry.port, name)
    return problems


def _order_and_reach(loaded: Loaded[Environment]) -> list[Problem]:
    """Asked only of a graph whose names are all right."""
    environment = loaded.value
    stuck = _waiting_in_circles(environment)
    if stuck:
        return [
            Problem(
                loaded.locate(("services", stuck[0], "after")),
                f"no start order can be met: {' waits for '.join([*stuck, stuck[0]])}",
                "remove one of their `after:`",
            )
        ]
    users = {edge.caller for edge in environment.edges}
    apart = [name for name in environment.services if name not in {*environment.reachable(), *users}]
    return [
        Problem(
            loaded.locate(("services", name), key=True),
            f"no edge leads to {name} and none leads from it",
            "add its edges, or remove it: what no traffic passes cannot be judged",
        )
        for name in apart
    ]


def _waiting_in_circles(environment: Environment) -> list[str]:
    """Services that wait for each other in this order, the last for the first; empty when there are none."""
    try:
        environment.start_order()
    except ValueError:
        pass
    else:
        return []
    started: set[str] = set()
    while wave := {
        name
        for name, service in environment.services.items()
        if name not in started and started >= set(service.after)
    }:
        started |= wave
    path = [next(name for name in environment.services if name not in started)]
    while True:
        waits_for = next(name for name in environment.services[path[-1]].after if name not in started)
        if waits_for in path:
            return path[path.index(waits_for) :]
        path.append(waits_for)


def _nothing_changes(loaded: Loaded[Change], service: str, as_what: str) -> Problem:
    where = loaded.locate(("services", service, "candidate"), key=True)
    return Problem(
        where, f"the candidate of {service} is the same as {as_what}", "say what is different in it"
    )


def _says_the_same(touched: ChangedService, service: Service) -> bool:
    """Whether the candidate changes nothing of what the environment runs. Files are read and differ or not later."""
    candidate = touched.candidate
    if touched.baseline is not None or candidate.files:
        return False
    return (
        (candidate.image is None or (candidate.image, candidate.build) == (service.image, service.build))
        and candidate.command in (None, service.command)
        and all(service.variables.get(name) == value for name, value in candidate.variables.items())
    )


def _missing_files(
    loaded: Loaded[Environment] | Loaded[Change], loc: Loc, files: Mapping[str, str]
) -> list[Problem]:
    return [
        missing_path(loaded, (*loc, path), relative, "file")
        for path, relative in files.items()
        if not exists(loaded.path.parent / relative, "file")
    ]


def _missing_build(
    loaded: Loaded[Environment] | Loaded[Change], loc: Loc, build: Build | None
) -> list[Problem]:
    if build is None:
        return []
    if not exists(loaded.path.parent / build.context, "folder"):
        return [missing_path(loaded, (*loc, "context"), build.context, "folder")]
    dockerfile = f"{build.context}/{build.dockerfile}"
    if not exists(loaded.path.parent / dockerfile, "file"):
        return [missing_path(loaded, (*loc, "dockerfile"), dockerfile, "file")]
    return []
