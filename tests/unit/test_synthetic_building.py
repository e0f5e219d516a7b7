"""Building, caching and opening bundles, on a small sample: what is refused, and that nothing is left half-done."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import synthetic
from harness.errors import DefinitionError
from harness.model.dataset import Dataset
from synthetic import building
from synthetic.private import PrivateSample, read_private
from synthetic.rows import Drawn, draw_rows, shown_variables
from synthetic.source import locate
from tests.unit.synthetic_samples import (
    BUILD,
    DEFINITION,
    ROOT,
    ROWS,
    python,
    quiet,
    source_rows,
    write_orders,
    write_source,
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def orders(tmp_path: Path) -> tuple[Path, Dataset]:
    return write_orders(tmp_path / "orders")


def in_cache(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "datasets").glob("*"))


# What a build gives


def test_a_build_says_what_it_does_and_the_cache_holds_one_bundle(
    orders: tuple[Path, Dataset], state: Path
) -> None:
    said: list[str] = []
    bundle = synthetic.build(*orders, said.append)
    assert said[0] == "dataset orders: fitting 8 variables on 600 of 1200 rows of orders.csv"
    assert re.fullmatch(rf"dataset orders: 2100 rows in 3 tables, \d+\.\d s, {bundle.digest}", said[1])
    assert in_cache(state) == [bundle.path.name]
    assert sorted(path.name for path in bundle.path.iterdir()) == [
        "labels.parquet", "lineage.json", "manifest.json", "privacy.json", "quality.json", "tables",
    ]  # fmt: skip
    assert synthetic.load(bundle.path).digest == bundle.digest


def test_the_readmes_example_builds_and_holds(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", (ROOT / "synthetic" / "README.md").read_text(), re.DOTALL)
    assert example is not None
    path, definition = write_orders(tmp_path, example[1])
    synthetic.build(path, definition, quiet)
    assert synthetic.check(path, definition, quiet).ok


def test_building_again_changes_nothing(orders: tuple[Path, Dataset]) -> None:
    first = synthetic.build(*orders, quiet)
    written = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    assert synthetic.build(*orders, quiet).digest == first.digest
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == written


@pytest.mark.parametrize(
    ("old", "new", "same_rows"),
    [
        ("seed: 5", "seed: 6", False),
        ("seed: 5", "seed: 5\ndescription: other words", True),
        ("currency: {constant: EUR}", "currency: {constant: CHF}", False),
    ],
)
def test_the_digest_follows_what_decides_the_rows(
    tmp_path: Path, old: str, new: str, same_rows: bool
) -> None:
    first = synthetic.build(*write_orders(tmp_path / "a"), quiet)
    second = synthetic.build(*write_orders(tmp_path / "b", DEFINITION.replace(old, new)), quiet)
    assert (second.digest == first.digest) is same_rows
    assert (second.path == first.path) is same_rows


def test_a_definition_that_contradicts_itself_is_refused_however_it_was_made(
    orders: tuple[Path, Dataset],
) -> None:
    path, definition = orders
    bare = definition.model_copy(update={"variables": {}, "labels": None})
    for call in (synthetic.build, synthetic.find_or_build, synthetic.check):
        with pytest.raises(DefinitionError) as caught:
            call(path, bare, quiet)
        assert [problem.what for problem in caught.value.problems][:2] == [
            "tables.shoppers.columns.age.from: no variable 'age'",
            "tables.shoppers.columns.member.from: no variable 'member'",
        ]


def test_another_source_gives_another_bundle(orders: tuple[Path, Dataset]) -> None:
    path, definition = orders
    first = synthetic.find_or_build(path, definition, quiet)
    write_source(path.parent / "orders.csv", source_rows()[:-1])
    second = synthetic.find_or_build(path, definition, quiet)
    assert second.path != first.path
    assert second.lineage.source is not None
    assert second.lineage.source.rows_read == 1199


def test_a_variable_depends_on_the_row_it_is_referred_from(orders: tuple[Path, Dataset]) -> None:
    """Age is drawn with the shopper, amount with the order; in the sample they rise together."""
    bundle = synthetic.build(*orders, quiet)
    both = bundle.table("orders").join(bundle.table("shoppers"), "shopper_id")
    age, amount = both.column("age").to_numpy(), both.column("amount").to_numpy()
    real = source_rows()
    wanted = np.corrcoef([float(r["age"]) for r in real], np.log([float(r["amount"]) for r in real]))[0, 1]
    found = np.corrcoef(age, np.log(np.maximum(amount, 1)))[0, 1]
    assert wanted > 0.4
    assert found == pytest.approx(wanted, abs=0.12)


def test_missing_values_stay_as_frequent_as_they_were(orders: tuple[Path, Dataset]) -> None:
    distance = synthetic.build(*orders, quiet).table("orders").column("distance")
    real = sum(row["distance"] == "NA" for row in source_rows()) / len(source_rows())
    assert distance.null_count / ROWS == pytest.approx(real, abs=0.03)


def test_importing_costs_nothing_and_building_needs_no_pandas(
    orders: tuple[Path, Dataset], tmp_path: Path
) -> None:
    code = f"""\
import sys
class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {{"pandas", "sdv", "torch"}}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, NoPandas())
import synthetic
heavy = {{"numpy", "scipy", "pyarrow", "faker"}} & set(sys.modules)
assert not heavy, heavy
{BUILD}
assert not {{"pandas", "sdv", "torch"}} & set(sys.modules)
"""
    process = python(code, orders[0], state=tmp_path / "other")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


# Copies of source rows


def leaking(orders: tuple[Path, Dataset], share: float, moved: float) -> Callable[..., Drawn]:
    """`draw_rows` with a planted fault: a share of the rows are fitted source rows, their amounts moved a little."""
    path, definition = orders
    assert definition.source is not None
    private = read_private(path, definition, locate(path, definition.source))
    assert private is not None

    def draw(*arguments: object) -> Drawn:
        drawn = draw_rows(*arguments)  # type: ignore[arg-type]
        copies = round(share * ROWS)
        for name in shown_variables(definition, "orders"):
            owner = definition.owner(name)
            values = private.columns((name,))[private.fitted][:copies, 0]
            drawn.values[owner][name][drawn.rows_of("orders", owner)[:copies]] = (
                values + moved if name == "amount" else values
            )
        return drawn

    return draw


@pytest.mark.parametrize(
    ("moved", "exceeded"),
    [(0.0, ["exact_matches", "copied_share"]), (0.07, ["copied_share"])],
    ids=["verbatim", "nearly"],
)
def test_a_dataset_with_copies_of_source_rows_is_not_built(
    orders: tuple[Path, Dataset],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    moved: float,
    exceeded: list[str],
) -> None:
    monkeypatch.setattr(building, "draw_rows", leaking(orders, 0.25, moved))
    with pytest.raises(DefinitionError) as caught:
        synthetic.build(*orders, quiet)
    message = str(caught.value)
    assert f"{orders[0]}: error: table 'orders': " in message
    for name in exceeded:
        assert re.search(rf"{name} is 0\.\d+ \(95 % interval .*\), more than privacy\.most_{name} ", message)
    assert ("exact_matches is" in message) is ("exact_matches" in exceeded)
    assert "model fewer variables, raise privacy.fewest_rows" in message
    assert in_cache(state) == []


def test_the_same_build_without_the_planted_copies_passes(
    orders: tuple[Path, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "draw_rows", leaking(orders, 0.0, 0.0))
    assert synthetic.build(*orders, quiet).privacy.findings() == ()


def test_rows_that_equal_a_source_row_are_drawn_again(tmp_path: Path) -> None:
    """Ages and four regions leave so few combinations that many rows equal a source row at first."""
    coarse = [
        {**row, "amount": str(round(float(row["amount"]) / 4)), "weight": row["weight"][:1]}
        for row in source_rows()
    ]
    (tmp_path / "orders").mkdir()
    write_source(tmp_path / "orders" / "orders.csv", coarse)
    text = DEFINITION.replace("type: number, decimals: 1}", "type: number, decimals: 0}")
    path, definition = write_orders(tmp_path / "orders", text)
    bundle = synthetic.build(path, definition, quiet)
    assert bundle.lineage.rows_drawn_again["orders"] > 0
    assert bundle.privacy.tables["orders"].exact_matches.value == 0


def test_too_few_combinations_are_refused_in_plain_words(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^ *(age|region|amount|distance|weight|cost): .*\n", "", DEFINITION)
    path, definition = write_orders(tmp_path / "orders", text)
    with pytest.raises(DefinitionError) as caught:
        synthetic.build(path, definition, quiet)
    assert f"{ROWS} of {ROWS} rows of 'orders' equal a source row in all of member" in str(caught.value)
    assert "too few combinations" in str(caught.value)


def test_a_value_that_few_share_never_comes_out(tmp_path: Path) -> None:
    """Planted: a region of three people, one giant amount, one odd age."""
    rows = source_rows()
    for row in rows[:3]:
        row["region"] = "atlantis"
    rows[3]["amount"], rows[4]["age"] = "987654.32", "119"
    (tmp_path / "orders").mkdir()
    write_source(tmp_path / "orders" / "orders.csv", rows)
    bundle = synthetic.build(*write_orders(tmp_path / "orders"), quiet)
    shoppers, amounts = bundle.table("shoppers"), bundle.table("orders").column("amount").to_numpy()
    assert set(shoppers.column("region").to_pylist()) == {"north", "south", "west"}
    assert 119 not in shoppers.column("age").to_pylist()
    assert 987654.32 not in amounts
    content = b"".join(path.read_bytes() for path in bundle.path.rglob("*") if path.is_file())
    assert b"atlantis" not in content
    assert b"987654" not in content


def test_a_label_that_no_longer_depends_on_the_rest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, definition = write_orders(tmp_path / "o", f"{DEFINITION}quality:\n  most_auc_gap: 0.1\n")
    synthetic.build(path, definition, quiet)

    def shuffled(*arguments: object) -> Drawn:
        drawn = draw_rows(*arguments)  # type: ignore[arg-type]
        np.random.default_rng(0).shuffle(drawn.values["orders"]["returned"])
        return drawn

    monkeypatch.setattr(building, "draw_rows", shuffled)
    with pytest.raises(DefinitionError, match=r"further apart than quality\.most_auc_gap 0\.1"):
        synthetic.build(path, definition, quiet)


# Identities


def test_identities_are_the_same_for_the_same_seed_only(tmp_path: Path) -> None:
    def names(folder: str, text: str = DEFINITION) -> list[str]:
        bundle = synthetic.build(*write_orders(tmp_path / folder, text), quiet)
        found: list[str] = bundle.table("shoppers").column("full_name").to_pylist()
        return found

    first = names("a")
    with_more = DEFINITION.replace(
        "      full_name: {faker: name}\n", "      city: {faker: city}\n      full_name: {faker: name}\n"
    )
    assert names("b") == first
    assert names("c", with_more) == first, "a new column must leave the others as they were"
    assert names("d", DEFINITION.replace("seed: 5", "seed: 6")) != first
    assert len(set(first)) > 0.9 * ROWS


def test_a_new_column_leaves_the_modelled_values_as_they_were(tmp_path: Path) -> None:
    first = synthetic.build(*write_orders(tmp_path / "a"), quiet)
    text = DEFINITION.replace("currency: {constant: EUR}", "note: {faker: word}")
    second = synthetic.build(*write_orders(tmp_path / "b", text), quiet)
    for column in ("shopper_id", "amount", "weight", "channel", "ordered_at"):
        assert second.table("orders").column(column) == first.table("orders").column(column)


def test_kept_rows_are_not_learnt_from(orders: tuple[Path, Dataset], tmp_path: Path) -> None:
    """Other people in the place of the kept ones: the same synthetic rows come out."""
    path, definition = orders
    fitted = private_of(path, definition).fitted
    both = zip(source_rows(), source_rows(seed=12), fitted, strict=True)
    (tmp_path / "other").mkdir()
    write_source(tmp_path / "other" / "orders.csv", [row if learnt else other for row, other, learnt in both])
    first = synthetic.build(path, definition, quiet)
    second = synthetic.build(*write_orders(tmp_path / "other"), quiet)
    assert second.digest != first.digest
    for name in first.tables():
        assert second.table(name) == first.table(name)


def private_of(path: Path, definition: Dataset) -> PrivateSample:
    assert definition.source is not None
    private = read_private(path, definition, locate(path, definition.source))
    assert private is not None
    return private
