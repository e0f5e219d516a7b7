"""Checking a cached bundle: each way in which it may not hold is found, also when whoever did it fixed the digests."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import synthetic
from harness.errors import DefinitionError
from harness.model.dataset import Dataset
from synthetic import DatasetCheck
from synthetic.private import read_private
from synthetic.source import locate
from tests.unit.synthetic_samples import (
    DEFINITION,
    ROWS,
    python,
    quiet,
    source_rows,
    write_orders,
    write_source,
)


class Case:
    """A bundle in a cache of its own, and ways to forge it."""

    def __init__(self, path: Path, definition: Dataset) -> None:
        self.path, self.definition = path, definition
        self.folder = synthetic.find_or_build(path, definition, quiet).path

    def check(self) -> DatasetCheck:
        return synthetic.check(self.path, self.definition, quiet)

    def forge(self, file: str, content: bytes) -> None:
        """Replace a file and make the manifest fit."""
        (self.folder / file).write_bytes(content)
        manifest = json.loads((self.folder / "manifest.json").read_text())
        manifest["files"][file] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        (self.folder / "manifest.json").write_text(json.dumps(manifest))

    def forge_table(self, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
        file = name if name == "labels.parquet" else f"tables/{name}.parquet"
        sink = pa.BufferOutputStream()
        pq.write_table(change(pq.read_table(self.folder / file)), sink)
        self.forge(file, sink.getvalue().to_pybytes())

    def forge_json(self, file: str, change: Callable[[Any], None]) -> None:
        content = json.loads((self.folder / file).read_text())
        change(content)
        self.forge(file, json.dumps(content).encode())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with definition, source and state."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("READINESS_STATE_DIR", str(folder / "state"))
        Case(*write_orders(folder))
    return folder


@pytest.fixture
def case(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    shutil.copytree(built, tmp_path / "copy")
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "copy" / "state"))
    return Case(*write_orders(tmp_path / "copy"))


def replaced(table: pa.Table, column: str, change: Callable[[list[Any]], list[Any]]) -> pa.Table:
    field = table.schema.field(column)
    values = pa.array(change(table.column(column).to_pylist()), field.type)
    return table.set_column(table.schema.get_field_index(column), field, values)


def first(value: object) -> Callable[[list[Any]], list[Any]]:
    """The first value replaced."""
    return lambda values: [value, *values[1:]]


def test_a_bundle_as_it_was_built_holds(case: Case) -> None:
    said: list[str] = []
    found = synthetic.check(case.path, case.definition, said.append)
    assert said == [f"dataset orders: checking {case.folder}"]
    assert found.ok
    assert found.not_checked == ()
    assert {finding.name: finding.sentence for finding in found.findings} == {
        "files": "all 7 files are as the manifest says",
        "definition": "made from this definition",
        "tables": "tables, columns, types and rows are as defined",
        "keys": "every key is there once",
        "references": "every reference hits a key",
        "labels": "every row has its label",
        "privacy": "the recorded evidence is within the limits",
        "quality": "the label is as predictable as it must be",
        "source": "made from orders.csv as it is here",
        "values": "every variable has one value a row, and known levels",
        "source_rows": f"of {ROWS} rows none equal a source row",
        "privacy_again": "measured again from the tables, the evidence is within the limits",
    }


def test_without_a_bundle_there_is_nothing_to_check(case: Case) -> None:
    shutil.rmtree(case.folder)
    with pytest.raises(DefinitionError) as caught:
        case.check()
    (problem,) = caught.value.problems
    assert problem.what == "this dataset has not been built since its definition or its source last changed"
    assert problem.fix == f"readiness data build {case.path}"


@pytest.mark.parametrize("what", ["definition", "source"])
def test_after_a_change_the_old_bundle_is_not_taken_for_the_new(case: Case, what: str) -> None:
    if what == "definition":
        case.definition = write_orders(case.path.parent, DEFINITION.replace("seed: 5", "seed: 6"))[1]
    else:
        write_source(case.path.parent / "orders.csv", source_rows()[1:])
    with pytest.raises(DefinitionError, match="has not been built since"):
        case.check()


def test_without_source_and_bundle_both_are_named(case: Case) -> None:
    (case.path.parent / "orders.csv").unlink()
    shutil.rmtree(case.folder)
    with pytest.raises(DefinitionError, match="no intact bundle of this definition is in the cache"):
        case.check()


def test_without_its_source_the_rest_is_checked_and_the_gap_is_told(case: Case) -> None:
    (case.path.parent / "orders.csv").unlink()
    found = case.check()
    assert found.ok
    assert [finding.name for finding in found.findings][-1] == "quality"
    assert found.not_checked == (
        "source, values, source_rows, privacy_again: the source orders.csv cannot be read: No such file or directory",
    )


def test_an_altered_byte_is_found_and_the_file_named(case: Case) -> None:
    file = case.folder / "tables" / "parcels.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    found = case.check()
    assert not found.ok
    assert found.digest is None
    (problem,) = found.problems
    assert (problem.name, problem.sentence) == (
        "files",
        f"{file}: its digest is not the manifest's: it was altered",
    )


def test_a_file_that_is_no_parquet_is_a_finding(case: Case) -> None:
    case.forge("tables/orders.parquet", b"PAR1 and nothing else")
    (problem,) = case.check().problems
    assert problem.sentence == f"{case.folder}/tables/orders.parquet: does not read as Parquet"


def test_labels_with_other_columns_are_a_finding(case: Case) -> None:
    case.forge_table("labels.parquet", lambda table: table.drop_columns(["groups"]))
    (problem,) = case.check().problems
    assert problem.sentence == f"{case.folder}/labels.parquet: has other columns than key, label, groups"


def test_a_manifest_that_lists_too_little_is_a_finding(case: Case) -> None:
    manifest = json.loads((case.folder / "manifest.json").read_text())
    del manifest["files"]["labels.parquet"]
    (case.folder / "manifest.json").write_text(json.dumps(manifest))
    (case.folder / "labels.parquet").unlink()
    (problem,) = case.check().problems
    assert problem.sentence == f"{case.folder}: the manifest does not list labels.parquet"


Forgery = tuple[str, Callable[[pa.Table], pa.Table], dict[str, str]]

FORGERIES: dict[str, Forgery] = {
    "a row too few": ("orders", lambda t: t.slice(1), {"tables": "orders has 899 rows, defined are 900"}),
    "a column renamed": (
        "parcels",
        lambda t: t.rename_columns(["parcel_id", "order"]),
        {"tables": "parcels has the columns parcel_id, order; defined are parcel_id, order_id"},
    ),
    "a label among the columns": (
        "orders",
        lambda t: t.append_column("returned", t.column("order_id")),
        {"tables": "orders has the columns order_id, shopper_id, amount"},
    ),
    "another type": (
        "shoppers",
        lambda t: t.set_column(2, "age", t.column("age").cast(pa.float64())),
        {"tables": "shoppers.age is of type double, not int64"},
    ),
    "a key twice": (
        "orders",
        lambda t: replaced(t, "order_id", first(2)),
        {
            "keys": "orders.order_id is not the defined key in 1 rows",
            "labels": "the labels' keys are not those of orders.order_id",
        },
    ),
    "a reference into nothing": (
        "orders",
        lambda t: replaced(t, "shopper_id", first("S9999")),
        {"references": "orders.shopper_id leads nowhere in 1 rows: shoppers has no such key"},
    ),
    "no reference": (
        "parcels",
        lambda t: replaced(t, "order_id", first(None)),
        {"references": "parcels.order_id leads nowhere in 1 rows: orders has no such key"},
    ),
    "a reference twice": (
        "orders",
        lambda t: replaced(t, "shopper_id", lambda v: [v[1], *v[1:]]),
        {"references": "orders.shopper_id refers to a row of shoppers more than once in 1 rows"},
    ),
    "labels of other rows": (
        "labels.parquet",
        lambda t: t.take(list(range(ROWS))[::-1]),
        {"labels": "the labels' keys are not those of orders.order_id"},
    ),
    "a label that is none": (
        "labels.parquet",
        lambda t: replaced(t, "label", first(2)),
        {"labels": "a label is 0 or 1, and here also 2"},
    ),
    "a group that is none": (
        "labels.parquet",
        lambda t: replaced(t, "groups", first('{"colour": "red"}')),
        {"labels": "not every label tells the groups tongue"},
    ),
    "a text that no source has": (
        "shoppers",
        lambda t: replaced(t, "region", first("Jane Roe, 12 Elm St")),
        {"values": "shoppers.region has a level that the source has not"},
    ),
}


@pytest.mark.parametrize("how", FORGERIES)
def test_what_does_not_hold_in_the_tables_is_found_behind_fitting_digests(case: Case, how: str) -> None:
    file, change, expected = FORGERIES[how]
    case.forge_table(file, change)
    problems = {finding.name: finding.sentence for finding in case.check().problems}
    assert problems.keys() == expected.keys()
    for name, sentence in expected.items():
        assert problems[name].startswith(sentence)


def test_many_problems_are_counted_not_listed(case: Case) -> None:
    for name in ("shoppers", "orders"):
        case.forge_table(
            name, lambda t: pa.table({c: t.column(c).cast(pa.large_string()) for c in t.column_names})
        )
    (problem,) = [finding for finding in case.check().problems if finding.name == "tables"]
    assert problem.sentence.count("; ") == 5
    assert problem.sentence.endswith("; and 8 more")


# Evidence and lineage


def raise_limit(privacy: Any) -> None:
    privacy["tables"]["orders"]["copied_share"] |= {"value": 0.6, "low": 0.5, "high": 0.7, "limit": 1.0}


def exceed_limit(privacy: Any) -> None:
    privacy["tables"]["orders"]["membership_auc"] |= {"value": 0.7, "low": 0.65, "high": 0.75}


def drop_controls(privacy: Any) -> None:
    privacy["tables"]["orders"]["controls"] = []


def blind_control(privacy: Any) -> None:
    for name in ("copied_share", "membership_auc"):
        privacy["tables"]["orders"]["controls"][1][name] |= {"low": 0.0, "value": 0.0, "high": 0.0}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (raise_limit, "table 'orders': copied_share was held against 0.15, 1.0, the definition says 0.15"),
        (exceed_limit, "table 'orders': membership_auc is 0.700 (95 % interval 0.650 to 0.750), more than"),
        (drop_controls, "table 'orders': no control shows that copies would be noticed"),
        (blind_control, "table 'orders': the control with 20% verbatim copies goes unnoticed"),
        (lambda p: p["tables"].clear(), "evidence is recorded for no table, and due for orders"),
    ],
)
def test_evidence_that_was_made_up_is_found(case: Case, change: Callable[[Any], None], sentence: str) -> None:
    case.forge_json("privacy.json", change)
    (problem,) = case.check().problems
    assert problem.name == "privacy"
    assert problem.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("change", "name", "sentence"),
    [
        (
            {"definition_digest": "sha256:0"},
            "definition",
            "made from the definition sha256:0, and this one is ",
        ),
        ({"seed": 7}, "definition", "made with seed 7, and the definition has 5"),
        ({"dataset": "others"}, "definition", "it is a bundle of 'orders'"),
        ({"source": None}, "definition", "made without a source"),
    ],
)
def test_lineage_of_something_else_is_found(
    case: Case, change: dict[str, Any], name: str, sentence: str
) -> None:
    case.forge_json("lineage.json", lambda lineage: lineage.update(change))
    (problem,) = case.check().problems
    assert problem.name == name
    assert problem.sentence.startswith(sentence)


def test_another_source_in_the_lineage_is_found(case: Case) -> None:
    case.forge_json("lineage.json", lambda lineage: lineage["source"].update(digest="sha256:0"))
    (problem,) = case.check().problems
    assert problem.name == "source"
    assert problem.sentence.startswith("made from orders.csv sha256:0, and here it is sha256:")


def test_a_label_that_cannot_be_predicted_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    case = Case(*write_orders(tmp_path, f"{DEFINITION}quality:\n  most_auc_gap: 0.1\n"))
    case.forge_json("quality.json", lambda quality: quality["label"].update(source_on_synthetic=0.5))
    (problem,) = case.check().problems
    assert problem.name == "quality"
    assert problem.sentence.endswith("more than quality.most_auc_gap 0.1")


# Source rows in the tables


def with_source_rows(case: Case, count: int, moved: float) -> None:
    """The first `count` orders and their shoppers become fitted source rows, their amounts moved a little."""
    assert case.definition.source is not None
    file = locate(case.path, case.definition.source)
    private = read_private(case.path, case.definition, file)
    assert private is not None
    rows = [row for row, fitted in zip(source_rows(), private.fitted, strict=True) if fitted][:count]
    shoppers = pq.read_table(case.folder / "tables/shoppers.parquet").column("shopper_id").to_pylist()
    orders = pq.read_table(case.folder / "tables/orders.parquet").column("shopper_id").to_pylist()
    at = [shoppers.index(key) for key in orders[:count]]

    def people(values: list[Any], column: str, make: Callable[[str], object]) -> list[Any]:
        for place, row in zip(at, rows, strict=True):
            values[place] = make(row[column])
        return values

    def change_people(table: pa.Table) -> pa.Table:
        table = replaced(table, "age", lambda v: people(v, "age", int))
        table = replaced(table, "member", lambda v: people(v, "member", lambda text: text == "yes"))
        return replaced(table, "region", lambda v: people(v, "region", str))

    def number(text: str) -> float | None:
        return None if text == "NA" else float(text)

    def change_orders(table: pa.Table) -> pa.Table:
        amounts = [round(float(row["amount"]) + moved, 2) for row in rows]
        table = replaced(table, "amount", lambda v: [*amounts, *v[count:]])
        distances, weights = ([number(row[name]) for row in rows] for name in ("distance", "weight"))
        table = replaced(table, "distance", lambda v: [*distances, *v[count:]])
        return replaced(table, "weight", lambda v: [*weights, *v[count:]])

    case.forge_table("shoppers", change_people)
    case.forge_table("orders", change_orders)


def test_a_single_source_row_in_the_tables_is_found(case: Case) -> None:
    with_source_rows(case, 1, moved=0.0)
    problems = {finding.name: finding.sentence for finding in case.check().problems}
    assert problems.keys() == {"source_rows", "privacy_again"}
    assert problems["source_rows"] == (
        f"1 of {ROWS} rows of 'orders' equal a source row in all of age, member, region, amount, distance, weight"
    )


def test_many_rows_close_to_source_rows_are_found_whatever_the_recorded_evidence_says(case: Case) -> None:
    with_source_rows(case, 225, moved=0.03)
    problems = {finding.name: finding.sentence for finding in case.check().problems}
    assert problems.keys() == {"privacy_again"}
    assert problems["privacy_again"].startswith("table 'orders': copied_share is 0.")


def test_rows_that_are_not_near_source_rows_are_let_pass(case: Case) -> None:
    """The repaired twin: the same forgery with other amounts, distances and weights."""
    case.forge_table(
        "orders", lambda t: replaced(t, "weight", lambda v: list(np.random.default_rng(1).permutation(v)))
    )
    assert case.check().ok


PARTLY_SHOWN = DEFINITION.replace(
    "      region: {from: region}\n",
    "",
).replace(
    "  parcels:\n",
    """\
  profiles:
    rows: 500
    columns:
      shopper_id: {reference: shoppers, once: true}
      region: {from: region}
  parcels:
""",
)


def test_rows_that_the_tables_show_in_part_only_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    found = Case(*write_orders(tmp_path, PARTLY_SHOWN)).check()
    assert found.ok
    assert found.not_checked == (
        "privacy_again: the tables do not show all variables of 400 rows of 'orders'",
    )
    sentences = {finding.name: finding.sentence for finding in found.findings}
    assert sentences["source_rows"] == "of 500 rows none equal a source row"


SHOWN_TWICE = DEFINITION.replace(
    "      order_id: {reference: orders}\n",
    "      order_id: {reference: orders}\n      amount: {from: amount}\n",
)


def test_two_tables_that_show_one_variable_differently_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    case = Case(*write_orders(tmp_path, SHOWN_TWICE))
    assert case.check().ok
    case.forge_table(
        "parcels", lambda t: t.set_column(2, "amount", pc.add(t.column("amount"), pa.scalar(0.01)))
    )
    problems = {finding.name: finding.sentence for finding in case.check().problems}
    assert problems["values"] == "parcels.amount shows other values of 'amount' than another row or table"


def test_a_dataset_without_a_source_has_less_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    text = "dataset: orders\ntables: {orders: {rows: 20, columns: {id: {key: integer}, n: {faker: name}}}}\n"
    found = Case(*write_orders(tmp_path, text)).check()
    assert found.ok
    assert found.not_checked == ()
    assert [finding.name for finding in found.findings] == [
        "files", "definition", "tables", "keys", "references", "labels", "privacy", "quality",
    ]  # fmt: skip


def test_the_check_holds_in_another_process(case: Case) -> None:
    code = """\
import sys
from pathlib import Path
import synthetic
from harness.loading import load_dataset
path = Path(sys.argv[1])
print(synthetic.check(path, load_dataset(path).value, lambda _: None).ok)
"""
    out, err = python(code, case.path, state=case.folder.parents[1]).communicate(timeout=60)
    assert out == "True\n", err
