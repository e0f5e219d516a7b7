"""scripts/engine: what it starts it stops again, and what it found it leaves alone.

The programs that it calls are stood in for by scripts in a folder at the front of PATH: starting a real second engine
would disturb the one that the other tests use.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"

STAND_INS = {
    ".venv/bin/python": '#!/bin/sh\ntest -e "$CHECKOUT/answers"\n',
    "path/id": "#!/bin/sh\necho 0\n",
    "path/apt-get": "#!/bin/sh\nexit 1\n",
    "path/iptables-legacy": "#!/bin/sh\n",
    "path/ip6tables-legacy": "#!/bin/sh\n",
    "path/dockerd": """#!/bin/bash
echo "dockerd $*"
[ "$NEEDS" = never ] && exit 1
[ "$NEEDS" = legacy ] && case $PATH in */legacy-iptables:*) ;; *) echo "iptables: no nft"; exit 1 ;; esac
echo $$ >"$2"
touch "$CHECKOUT/answers"
trap 'rm -f "$CHECKOUT/answers"; exit 0' TERM
while :; do sleep 0.1; done
""",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name, text in STAND_INS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    yield tmp_path
    pid_file = tmp_path / ".state" / "dockerd.pid"
    if pid_file.exists():
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


def engine(
    checkout: Path, command: str, needs: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
    path = f"{checkout / 'path'}:{os.environ['PATH']}"
    return subprocess.run(
        [checkout / "scripts" / "engine", command],
        env={**kept, "PATH": path, "CHECKOUT": str(checkout), "NEEDS": needs, **variables},
        capture_output=True,
        text=True,
        timeout=90,
    )


@pytest.mark.skipif(
    Path("/run/systemd/system").is_dir(), reason="systemd would start the engine of this machine"
)
@pytest.mark.parametrize("needs", ["", "legacy"])
def test_engine_that_it_started_is_stopped_again(checkout, needs):
    done = engine(checkout, "start", needs)
    assert done.returncode == 0, done.stderr
    assert (checkout / "answers").exists()
    assert "started from here" in engine(checkout, "status").stdout
    assert "used as it is" in engine(checkout, "start", needs).stdout

    pid = int((checkout / ".state" / "dockerd.pid").read_text())
    assert "stopped" in engine(checkout, "stop").stdout
    assert not Path(f"/proc/{pid}").exists()
    assert "left alone" in engine(checkout, "stop").stdout


def test_engine_that_it_found_is_left_alone(checkout):
    (checkout / "answers").touch()
    assert "used as it is" in engine(checkout, "start").stdout
    assert "left alone" in engine(checkout, "stop").stdout
    assert (checkout / "answers").exists()


def test_process_with_the_id_of_an_earlier_engine_is_not_stopped(checkout):
    other = subprocess.Popen(["sleep", "60"])
    try:
        (checkout / ".state").mkdir()
        (checkout / ".state" / "dockerd.ours").write_text(f"process {other.pid} 1\n")
        assert "left alone" in engine(checkout, "stop").stdout
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.skipif(
    Path("/run/systemd/system").is_dir(), reason="systemd would start the engine of this machine"
)
def test_engine_that_cannot_start_is_told_with_its_last_lines(checkout):
    done = engine(checkout, "start", "never")
    assert done.returncode == 4
    assert "starting the Docker engine failed" in done.stderr
    assert "dockerd --pidfile" in done.stderr


def test_named_engine_that_does_not_answer_is_not_replaced(checkout):
    done = engine(checkout, "start", DOCKER_HOST="tcp://127.0.0.1:1")
    assert done.returncode == 4
    assert done.stderr == (
        "[set-up] error: the Docker engine that DOCKER_HOST names does not answer\n"
        "[set-up]   start it, or unset DOCKER_HOST\n"
    )


def test_elsewhere_one_message_says_what_to_install(checkout):
    (checkout / "path" / "id").write_text("#!/bin/sh\necho 1000\n")
    done = engine(checkout, "start")
    assert done.returncode == 4
    assert done.stderr.startswith("[set-up] error: no Docker engine answers\n")
    assert "install and start one" in done.stderr
