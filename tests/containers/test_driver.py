"""The driver seam on a real Docker engine: what it starts it can harm, heal and remove, as often as asked."""

import secrets

import pytest

from harness.driver.base import Attachment, ContainerSpec, DriverError, NetworkSpec, SubnetTakenError
from harness.driver.docker import DockerDriver
from harness.environment.images import DEBIAN, ImageRequest, ensure_images

pytestmark = pytest.mark.containers

LABEL = "readiness.run"


@pytest.fixture(scope="module")
def driver():
    ensure_images([ImageRequest(DEBIAN)])
    return DockerDriver()


@pytest.fixture
def world(driver):
    """A run id whose containers and networks are gone afterwards."""
    run = f"test-{secrets.token_hex(4)}"
    yield run
    for item in sorted(driver.owned(LABEL, run)):
        kind, name = item.split()
        driver.remove(name) if kind == "container" else driver.remove_network(name)
    assert driver.owned(LABEL, run) == ()


def _network(driver, run, third, internal=True):
    name = f"{run}-{third}"
    subnet = f"10.199.{third}.0/26"
    driver.create_network(NetworkSpec(name, subnet, f"10.199.{third}.0/29", internal, {LABEL: run}))
    return name


def _sleeper(run, network, name="a", **more):
    return ContainerSpec(
        name=f"{run}-{name}",
        image=DEBIAN,
        networks=(Attachment(network, None),),
        command=("sleep", "600"),
        labels={LABEL: run},
        **more,
    )


def test_files_variables_hosts_and_limits_are_there_when_it_starts(driver, world):
    network = _network(driver, world, 10)
    spec = _sleeper(
        world,
        network,
        files={"/etc/deep/er/hello.txt": b"hello\n"},
        variables={"COLOUR": "blue"},
        extra_hosts={"redis": "10.199.10.20"},
        hostname="shop",
        cpus=0.5,
        memory_bytes=64 * 2**20,
    )
    driver.start(spec)
    command = ("sh", "-c", "cat /etc/deep/er/hello.txt; echo $COLOUR; getent hosts redis; hostname")
    result = driver.execute(spec.name, command)
    assert result.exit_code == 0
    assert result.stdout.decode().split() == ["hello", "blue", "10.199.10.20", "redis", "shop"]
    assert (
        driver.execute(spec.name, ("cat",), stdin=b"through standard input").stdout
        == b"through standard input"
    )
    assert driver.execute(spec.name, ("sh", "-c", "exit 3")).exit_code == 3


def test_undo_is_idempotent_and_nothing_is_left(driver, world):
    network = _network(driver, world, 11)
    spec = _sleeper(world, network)
    driver.start(spec)
    for _ in range(2):
        driver.pause(spec.name)
    assert driver.status(spec.name).state == "paused"
    for _ in range(2):
        driver.unpause(spec.name)
    for _ in range(2):
        driver.kill(spec.name)
    assert driver.status(spec.name).state == "exited"
    for _ in range(2):
        driver.start_again(spec.name)
    assert driver.status(spec.name).state == "running"
    driver.pause(spec.name)
    for _ in range(2):
        driver.remove(spec.name)
        driver.remove_network(network)
    assert driver.owned(LABEL, world) == ()
    assert driver.status(spec.name).state == "gone"


def test_a_killed_container_comes_back_with_its_address(driver, world):
    network = _network(driver, world, 12)
    spec = ContainerSpec(
        name=f"{world}-fixed",
        image=DEBIAN,
        networks=(Attachment(network, "10.199.12.10"),),
        command=("sleep", "600"),
        labels={LABEL: world},
    )
    driver.start(spec)
    driver.kill(spec.name)
    driver.start_again(spec.name)
    assert driver.status(spec.name).networks == {network: "10.199.12.10"}


def test_a_start_that_fails_leaves_no_container(driver, world):
    network = _network(driver, world, 13)
    spec = ContainerSpec(
        name=f"{world}-broken",
        image=DEBIAN,
        networks=(Attachment(network, None),),
        command=("/no/such/program",),
        labels={LABEL: world},
    )
    with pytest.raises(DriverError, match="/no/such/program"):
        driver.start(spec)
    assert driver.status(spec.name).state == "gone"


def test_an_overlapping_subnet_says_so(driver, world):
    _network(driver, world, 14)
    with pytest.raises(SubnetTakenError):
        driver.create_network(
            NetworkSpec(f"{world}-twin", "10.199.14.0/26", "10.199.14.0/29", True, {LABEL: world})
        )


def test_a_command_that_runs_too_long_is_given_up(driver, world):
    network = _network(driver, world, 15)
    spec = _sleeper(world, network)
    driver.start(spec)
    with pytest.raises(DriverError, match="took over"):
        driver.execute(spec.name, ("sh", "-c", "while :; do echo x; sleep 0.1; done"), timeout_s=1)


def test_services_on_networks_of_their_own_cannot_reach_each_other(driver, world):
    """What makes a bypassed edge impossible: only the plane sits on both networks."""
    one, two = _network(driver, world, 16), _network(driver, world, 17)
    driver.start(_sleeper(world, one, "one"))
    driver.start(_sleeper(world, two, "two"))
    address = driver.status(f"{world}-two").networks[two]
    probe = ("timeout", "2", "bash", "-c", f"echo > /dev/tcp/{address}/22")
    assert driver.execute(f"{world}-one", probe).exit_code != 0
    stderr = driver.execute(f"{world}-one", probe).stderr
    assert b"refused" not in stderr


def test_a_command_that_never_says_anything_is_given_up(driver, world):
    spec = _sleeper(world, _network(driver, world, 19))
    driver.start(spec)
    with pytest.raises(DriverError, match="took over 1 s"):
        driver.execute(spec.name, ("sleep", "60"), timeout_s=1)
    assert driver.execute(spec.name, ("echo", "still here")).stdout == b"still here\n"
