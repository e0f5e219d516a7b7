"""Bundles on disk: what is altered is refused, and what is cut off leaves nothing behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import synthetic
from harness.errors import DefinitionError, EngineError
from harness.model.dataset import Dataset
from tests.unit.synthetic_samples import BUILD, ROWS, python, quiet, write_orders


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def orders(tmp_path: Path) -> tuple[Path, Dataset]:
    return write_orders(tmp_path / "orders")


def in_cache(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "datasets").glob("*"))


@pytest.mark.parametrize("name", ["tables/orders.parquet", "labels.parquet", "privacy.json", "lineage.json"])
def test_one_altered_byte_is_refused_naming_the_file(orders: tuple[Path, Dataset], name: str) -> None:
    bundle = synthetic.build(*orders, quiet)
    file = bundle.path / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DefinitionError) as caught:
        synthetic.load(bundle.path)
    (problem,) = caught.value.problems
    assert problem.where.file == str(file)
    assert problem.what == "its digest is not the manifest's: it was altered"


def test_a_table_that_is_altered_after_loading_is_refused(orders: tuple[Path, Dataset]) -> None:
    bundle = synthetic.build(*orders, quiet)
    (bundle.path / "tables/orders.parquet").write_bytes(b"")
    with pytest.raises(DefinitionError, match=r"orders\.parquet: error: its digest is not the manifest's"):
        bundle.table("orders")


def test_files_that_are_added_or_missing_are_refused(orders: tuple[Path, Dataset]) -> None:
    bundle = synthetic.build(*orders, quiet)
    (bundle.path / "tables" / "more.parquet").write_bytes(b"x")
    with pytest.raises(DefinitionError, match=r"does not list: tables/more\.parquet"):
        synthetic.load(bundle.path)
    (bundle.path / "tables" / "more.parquet").unlink()
    (bundle.path / "quality.json").unlink()
    with pytest.raises(DefinitionError, match=r"quality\.json: error: part of the bundle: No such file"):
        synthetic.load(bundle.path)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="no dataset bundle: No such file"):
        synthetic.load(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text('{"format": 1}')
    with pytest.raises(DefinitionError, match="the manifest does not read"):
        synthetic.load(tmp_path)


def test_an_unknown_table_is_named_with_those_there_are(orders: tuple[Path, Dataset]) -> None:
    bundle = synthetic.build(*orders, quiet)
    with pytest.raises(KeyError, match="has no table 'order'; it has: shoppers, orders, parcels"):
        bundle.table("order")


def test_a_damaged_bundle_in_the_cache_is_built_again(orders: tuple[Path, Dataset]) -> None:
    bundle = synthetic.build(*orders, quiet)
    (bundle.path / "labels.parquet").write_bytes(b"PAR1")
    said: list[str] = []
    assert synthetic.find_or_build(*orders, said.append).digest == bundle.digest
    assert "is damaged and is built again" in said[0]
    assert len(synthetic.load(bundle.path).labels()) == ROWS


HALF_WAY = """\
import signal, time
from pathlib import Path
write = Path.write_bytes
def write_and_stop(path, content):
    write(path, content)
    if path.name == "orders.parquet":
        print("half", flush=True)
        time.sleep(60)
Path.write_bytes = write_and_stop
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_is_cut_off_leaves_no_bundle(
    orders: tuple[Path, Dataset], state: Path, how: signal.Signals
) -> None:
    process = python(HALF_WAY + BUILD, orders[0], state=state)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    assert all(name.startswith(".building-") for name in in_cache(state))
    process.send_signal(how)
    process.communicate(timeout=30)
    if how is signal.SIGINT:
        assert in_cache(state) == []
    with pytest.raises(DefinitionError, match="has not been built"):
        synthetic.check(*orders, quiet)
    bundle = synthetic.find_or_build(*orders, quiet)
    assert in_cache(state) == [bundle.path.name]


def test_a_full_disk_is_the_machines_fault_and_leaves_nothing(
    orders: tuple[Path, Dataset], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "labels.parquet":
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EngineError, match="No space left on device") as caught:
        synthetic.build(*orders, quiet)
    assert "READINESS_STATE_DIR" in caught.value.fix
    assert in_cache(state) == []


def test_two_builds_at_once_give_one_bundle(orders: tuple[Path, Dataset], state: Path) -> None:
    processes = [python(f"{BUILD}print(bundle.digest)", orders[0], state=state) for _ in range(2)]
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert len({out for out, _ in told}) == 1
    assert len(in_cache(state)) == 1
