"""What the machine can do, read from what kernels really say."""

from __future__ import annotations

import pytest

from harness.environment import host
from harness.environment.host import Capability, EngineFacts


def engine(cgroup_version: str = "2", *warnings: str) -> EngineFacts:
    return EngineFacts(
        "27.0", "1.46", "overlay2", cgroup_version, "systemd", "Debian", "6.1", 2, 2**30, "/x", warnings
    )


def test_tools_inside_a_container_are_believed_by_their_exit_code():
    lines = ["nft=0", "Error: Specified qdisc kind is unknown.", "tc=2"]
    inside = host._read_probe(lines)
    assert inside is not None
    assert host._nftables(inside).supported is True
    netem = host._netem(inside)
    assert netem.supported is False
    assert netem.how == "Error: Specified qdisc kind is unknown."


@pytest.mark.parametrize("lines", [[], ["sh: 1: nft: not found"], ["nft"]])
def test_container_that_said_nothing_proves_nothing(lines):
    assert host._read_probe(lines) is None


@pytest.mark.parametrize(
    ("config", "supported", "how"),
    [
        ({"CONFIG_NET_SCH_NETEM": "y"}, True, "kernel configuration CONFIG_NET_SCH_NETEM=y"),
        ({"CONFIG_NET_SCH_NETEM": "m"}, True, "kernel configuration CONFIG_NET_SCH_NETEM=m"),
        ({}, False, "kernel configuration CONFIG_NET_SCH_NETEM=n"),
    ],
)
def test_without_a_container_the_kernel_configuration_decides(monkeypatch, config, supported, how):
    monkeypatch.setattr(host, "kernel_config", lambda: config)
    netem = host._netem(None)
    assert (netem.supported, netem.how) == (supported, how)


def test_what_cannot_be_probed_is_unknown_not_supported(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "kernel_config", lambda: None)
    monkeypatch.setattr(host.shutil, "which", lambda *_args, **_kwargs: None)
    assert host._nftables(None).supported is None


def test_engine_that_cannot_limit_memory_is_told():
    limits: Capability = host._limits(
        engine("1", "WARNING: No memory limit support", "WARNING: No swap limit support")
    )
    assert limits.supported is False
    assert limits.how == "WARNING: No memory limit support"
    assert host._limits(engine()).supported is True


def test_this_machine_has_processors_memory_and_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "not" / "yet" / "there"))
    facts = host.host_facts()
    assert facts.cpus >= 1
    assert facts.memory_bytes > 2**27
    assert facts.free_disk_bytes > 0
    assert not facts.state_folder.exists()
