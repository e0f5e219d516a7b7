"""The READMEs' tables and commented examples say what the models and registries say: no key and no default goes stale."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harness.checks import Check
from harness.checks.registry import EVIDENCE, REQUESTED
from harness.faults import Fault, fault_names, make_fault
from harness.model import change, environment, pace, scenario
from harness.model.environment import Protocol
from harness.model.history import Exchanges
from harness.model.policy import Policy
from harness.model.quantities import Duration
from harness.recording.registry import READERS
from harness.replaying.thresholds import KNOWN
from tests.unit.readmes import blocks, coded, read, rows

ENVIRONMENTS, SCENARIOS = "environments/README.md", "scenarios/README.md"
RECORDING, REPLAY, REPLAYING = (f"harness/{name}/README.md" for name in ("recording", "replay", "replaying"))
EVIDENCE_LIMITS = {"policy", "confidence", "resamples", "block", "baseline_availability", "probe_tolerance"}
"""Keys of the policy that are not about replay, besides `minimum_…`."""
FAULTS = [make_fault(name) for name in fault_names()]


def default_of(field: FieldInfo) -> str:
    """As the READMEs spell it; empty where there is none to tell."""
    value = field.get_default(call_default_factory=True)
    if field.is_required() or value is None or value in ("", (), {}) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, Duration):
        return ("none" if value.ns == 0 else f"{value.s:g}s") if value.ns % 10**9 == 0 else str(value)
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def says(text: str, word: str) -> bool:
    """Whether the word stands there by itself: `0.9` does not in `0.95`."""
    return bool(re.search(rf"(?<![\w.]){re.escape(word)}(?!\.?\w)", text))


@pytest.mark.parametrize(
    ("module", "left_out", "readme"),
    [
        (environment, (), ENVIRONMENTS),
        (scenario, (), SCENARIOS),
        (pace, (), SCENARIOS),
        (change, ("Version",), SCENARIOS),  # it has a table of its own
    ],
)
def test_every_field_of_a_definition_is_shown_with_its_default(
    module: Any, left_out: tuple[str, ...], readme: str
) -> None:
    lines = [line for block in blocks(readme, "yaml") for line in block.text.splitlines()]
    for name, model in vars(module).items():
        if name in left_out or not isinstance(model, type) or not issubclass(model, BaseModel):
            continue
        for key, field in model.model_fields.items() if model.__module__ == module.__name__ else ():
            found = [line for line in lines if re.search(rf"\b{field.alias or key}:", line)]
            assert found, f"{name}.{key} is not shown"
            default = default_of(field)
            told = any(says(line, default) and "default" in line for line in found)
            assert told or not default, f"{name}.{key} is {default} by default; the README has {found}"


def test_every_protocol_is_shown() -> None:
    (line,) = [line for line in read(ENVIRONMENTS).splitlines() if "or tcp for any other stream" in line]
    assert all(says(line.split("#")[1], protocol) for protocol in get_args(Protocol))


def test_what_a_change_may_override_is_what_a_version_takes() -> None:
    named = {name for row in rows(ENVIRONMENTS, "key") for name in coded(row[0])}
    assert named == change.Version.model_fields.keys()


def test_the_policy_shown_is_the_default() -> None:
    (shown,) = [block.text for block in blocks(SCENARIOS, "yaml") if "\npolicy: " in block.text]
    assert yaml.safe_load(shown) == Policy().model_dump(mode="json")


def said_of_each(cell: str) -> dict[str, str]:
    """What a table says after each `key`; keys joined by commas share it."""
    found: dict[str, str] = {}
    text = ""
    for key, after in reversed(re.findall(r"`(\w+)(?:: \w+)?`([^`]*)", cell)):
        text = text if after.strip() in {"", ","} else after.strip(" ,:;")
        found[key] = text
    return found


def test_the_tables_name_the_faults_and_checks_that_there_are() -> None:
    assert [coded(row[0])[0] for row in rows(SCENARIOS, "fault")] == list(fault_names())
    assert {coded(row[0])[0] for row in rows(SCENARIOS, "check", "defaults")} == {c.name for c in REQUESTED}
    assert {name for row in rows(SCENARIOS, "check", "unless") for name in coded(row[0])} == {
        c.name for c in EVIDENCE
    }


@pytest.mark.parametrize("fault", FAULTS, ids=fault_names())
def test_a_fault_is_as_its_row_says(fault: Fault) -> None:
    (row,) = [row for row in rows(SCENARIOS, "fault") if coded(row[0]) == [fault.name]]
    _, level, aim, _, keys = row
    only = f" with `protocol: {fault.protocols[0]}`" if len(fault.protocols) == 1 else ""
    assert (level, aim) == (fault.level, fault.targets + only)
    said, fields = said_of_each(keys), fault.parameters.model_fields
    assert said.keys() == fields.keys()
    for key, field in fields.items():
        default = "required" if field.is_required() else f"default {default_of(field) or 'all'}"
        assert says(said[key], default), f"{key}: {said[key]}"
        least, most = (
            next((getattr(bound, name) for bound in field.metadata if hasattr(bound, name)), None)
            for name in ("ge", "le")
        )
        assert least is None or most is None or says(said[key], f"{least} to {most}")


def test_the_faults_that_do_not_cut_are_named() -> None:
    (named,) = re.findall(r"^All but (.*) cut:", read(SCENARIOS), re.MULTILINE)
    assert set(coded(named)) == {fault.name for fault in FAULTS if not fault.cuts}


@pytest.mark.parametrize("check", REQUESTED, ids=lambda check: check.name)
def test_the_keys_of_a_check_are_as_its_row_says(check: Check) -> None:
    table = {coded(row[0])[0]: row[-1] for row in rows(SCENARIOS, "check", "defaults")}
    above = list(table)[: list(table).index(check.name)]
    said, fields = said_of_each(table[check.name]), check.parameters.model_fields
    assert said.keys() == fields.keys()
    for key, field in fields.items():
        if said[key] == "as above":
            before = [other.parameters.model_fields for other in REQUESTED if other.name in above]
            assert {default_of(other[key]) for other in before if key in other} == {default_of(field)}
        elif field.is_required():
            assert "required" in said[key], f"{key}: {said[key]}"
        elif default_of(field):
            assert re.match(rf"{re.escape(default_of(field))}(?!\.?\w)", said[key]), f"{key}: {said[key]}"
        else:
            assert says(said[key], "none") or re.search(rf"either `{key}`|or `{key}: ", table[check.name]), (
                key
            )


def test_every_format_of_captures_is_shown() -> None:
    assert {row[0].strip("`") for row in rows(RECORDING, "`--format`")} == {reader.name for reader in READERS}


def test_every_limit_on_fidelity_is_shown_beside_its_measure() -> None:
    shown = [""]
    for row in rows(REPLAYING, "measure", "why this limit"):
        for key in coded(row[1]):  # after `schedule_lag_p50`, `_p90` is the same with another end
            shown.append(f"{shown[-1].rpartition('_')[0]}{key}" if key.startswith("_") else key)
    limits = {key for key in Policy.model_fields if not key.startswith("minimum_")} - EVIDENCE_LIMITS
    assert set(shown[1:]) == limits


def test_the_times_and_measures_shown_are_known() -> None:
    assert {name for row in rows(REPLAY, "column") for name in coded(row[0])} <= set(Exchanges.schema.names)
    named = {name for row in rows(REPLAYING, "measure", "value") for name in re.findall(r"`([^`]+)`", row[0])}
    assert named <= set(KNOWN)
