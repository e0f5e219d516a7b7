"""Which faults there are, what they say about themselves, and what happens to plug-ins that are of no use."""

import sys

import pytest
from pydantic import ValidationError

from harness.errors import EngineError
from harness.faults import Fault, fault_names, make_fault, registry, validate_parameters

OWN = ("black_hole", "refused", "latency", "stall", "error_status", "kill", "pause")
GOOD = """
from harness.faults import Fault

class Fog(Fault):
    name = "fog"
    summary = "nothing is clear"
    level = "packets"
    targets = "edge"
    cuts = False
    def apply(self, context):
        raise NotImplementedError
"""


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Installs a package of that content, whose entry point names `fog.Fog`."""

    def install(content, package="weather-faults", value="fog:Fog"):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[readiness.faults]\nfog = {value}\n")
        (tmp_path / "fog.py").write_text(content)

    monkeypatch.syspath_prepend(str(tmp_path))
    registry._registered.cache_clear()
    yield install
    registry._registered.cache_clear()
    sys.modules.pop("fog", None)


def test_ours_are_there_and_complete():
    assert fault_names()[: len(OWN)] == OWN
    for name in OWN:
        fault = make_fault(name)
        assert isinstance(fault, Fault)
        assert fault.name == name
        assert fault.summary
        assert not fault.summary.endswith(".")
        if fault.level in ("packets", "streams", "requests"):
            assert fault.targets == "edge"


def test_an_unknown_fault_names_the_known_ones():
    with pytest.raises(KeyError, match="unknown fault 'latensy'; known: black_hole, refused, latency"):
        make_fault("latensy")


def guide_example() -> type[Fault]:
    """The fault that README.md of the faults writes as its example."""
    import re
    from pathlib import Path

    readme = Path(registry.__file__).with_name("README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    names: dict[str, object] = {"__name__": "truncate"}
    exec(compile(found[1], "README.md", "exec"), names)
    example = names["Truncate"]
    assert isinstance(example, type)
    assert issubclass(example, Fault)
    return example


def test_the_writers_guide_holds():
    assert registry._wrong_facts(guide_example()) is None


class TestPlugIns:
    def test_a_good_one_joins_ours(self, plug_in):
        plug_in(GOOD)
        assert fault_names() == (*OWN, "fog")
        assert make_fault("fog").summary == "nothing is clear"
        assert validate_parameters("fog", {}) == "{}"

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            ("import no_such_thing", "it cannot be loaded (ModuleNotFoundError: No module named 'no_such_thing')"),
            ("", "it cannot be loaded (AttributeError: module 'fog' has no attribute 'Fog')"),
            ("Fog = 3", "it is no subclass of harness.faults.Fault"),
            (GOOD.replace('"fog"', '"stall"'), "a fault named 'stall' is there already"),
            (GOOD.replace("    cuts = False\n", ""), "it does not say its cuts"),
            (GOOD.replace("def apply", "def aply"), "it does not define apply"),
            (GOOD.replace('"packets"', '"wires"'), "its level is 'wires', none of packets, streams, requests, containers"),
            (GOOD.replace('"edge"', '"edges"'), "its targets is 'edges', none of edge, service"),
            (GOOD.replace("    cuts", "    parameters = dict\n    cuts"), "its parameters are no subclass of"),
        ],
    )  # fmt: skip
    def test_one_of_no_use_stops_everything_and_its_package_is_named(self, plug_in, content, why):
        plug_in(content)
        with pytest.raises(EngineError) as caught:
            fault_names()
        start = "fault plug-in 'fog' (fog:Fog) of package weather-faults is of no use: "
        assert caught.value.what.startswith(start + why)
        assert caught.value.fix == "correct or uninstall that package"


class TestParameters:
    @pytest.mark.parametrize("name", [name for name in OWN if name not in ("latency", "error_status")])
    def test_most_have_none(self, name):
        assert validate_parameters(name, {}) == "{}"
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            validate_parameters(name, {"percent": 3})

    def test_they_come_out_canonical_with_defaults(self):
        assert validate_parameters("latency", {"delay": "0.25s"}) == '{"delay":"250ms"}'
        assert (
            validate_parameters("error_status", {"status": 503})
            == '{"percent":100.0,"route":"","status":503}'
        )

    @pytest.mark.parametrize(
        ("delay", "why"),
        [
            (None, "Field required"),
            ("300", "300ms or 2s"),
            ("0s", "not a delay between 1ms and 1m in whole milliseconds"),
            ("61s", "not a delay between"),
            ("1500us", "not a delay between"),
        ],
    )
    def test_latency(self, delay, why):
        with pytest.raises(ValidationError, match=why):
            validate_parameters("latency", {} if delay is None else {"delay": delay})

    @pytest.mark.parametrize(
        ("raw", "why"),
        [
            ({}, "Field required"),
            ({"status": 200}, "greater than or equal to 400"),
            ({"status": 600}, "less than or equal to 599"),
            ({"status": 503, "percent": 0}, "greater than 0"),
            ({"status": 503, "percent": 100.01}, "less than or equal to 100"),
            ({"status": 503, "percent": 0.005}, "more than two decimal places"),
            ({"status": 503, "route": "loans"}, "should match pattern"),
            ({"status": 503, "route": "/a b"}, "should match pattern"),
            ({"status": 503, "route": "/a;quit"}, "should match pattern"),
        ],
    )
    def test_error_status(self, raw, why):
        with pytest.raises(ValidationError, match=why):
            validate_parameters("error_status", raw)
