"""Columns that are not modelled: keys, references, choices, days, formulas, constants, and what goes wrong with them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

import synthetic
from harness.errors import DefinitionError
from harness.loading import load_dataset
from synthetic import DatasetBundle
from tests.unit.synthetic_samples import quiet

TABLES = """\
dataset: invented
seed: 3
tables:
  users:
    rows: 40
    columns:
      user_id: {key: "U-{:03d}"}
      age: {constant: 30}
      name: {faker: name, unique: true}
      credit: {faker: pyint, arguments: {min_value: 5, max_value: 9}}
      born: {faker: date_of_birth, arguments: {minimum_age: 18, maximum_age: 80}}
  visits:
    rows: 2000
    columns:
      visit: {key: integer}
      user_id: {reference: users}
      kind: {choice: {short: 3, long: 1}}
      day: {between: [2024-02-28, 2024-03-01]}
      at: {between: [2024-02-28, 2024-02-28], type: timestamp}
      half: {formula: "visit / 2", decimals: 1}
      older: {formula: "max(users.age, visit) - -1", type: integer}
      broken: {formula: "1 / (visit - visit)"}
      vip: {constant: true}
  details:
    rows: 1500
    columns:
      visit: {reference: visits, once: true}
      double: {formula: "visits.visit * 2", type: integer}
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))


def build(folder: Path, text: str = TABLES) -> DatasetBundle:
    path = folder / "invented.dataset.yaml"
    path.write_text(text, encoding="utf-8")
    return synthetic.build(path, load_dataset(path).value, quiet)


def test_every_kind_of_column_is_filled_as_it_says(tmp_path: Path) -> None:
    bundle = build(tmp_path)
    users, visits = bundle.table("users"), bundle.table("visits")
    assert users.column("user_id").to_pylist()[::39] == ["U-001", "U-040"]
    assert len(set(users.column("name").to_pylist())) == 40
    assert set(users.column("credit").to_pylist()) <= set(range(5, 10))
    assert users.schema.field("born").type == pa.date32()
    assert visits.column("visit").to_pylist() == list(range(1, 2001))
    assert set(visits.column("user_id").to_pylist()) == set(users.column("user_id").to_pylist())
    kinds = Counter(visits.column("kind").to_pylist())
    assert kinds["short"] / 2000 == pytest.approx(0.75, abs=0.04)
    leap = {dt.date(2024, 2, 28), dt.date(2024, 2, 29), dt.date(2024, 3, 1)}
    assert set(visits.column("day").to_pylist()) == leap
    moments = visits.column("at").to_pylist()
    assert {moment.date() for moment in moments} == {dt.date(2024, 2, 28)}
    assert len(set(moments)) > 1900
    assert visits.column("half").to_pylist()[:3] == [0.5, 1.0, 1.5]
    assert visits.column("older").to_pylist()[::1999] == [31, 2001]
    assert visits.column("broken").null_count == 2000
    assert visits.column("vip").to_pylist() == [True] * 2000


def test_a_formula_follows_the_reference_of_its_own_row(tmp_path: Path) -> None:
    details = build(tmp_path).table("details")
    referred = details.column("visit").to_pylist()
    assert len(set(referred)) == 1500
    assert details.column("double").to_pylist() == [2 * visit for visit in referred]


def test_a_dataset_without_a_source_has_no_evidence_and_no_labels(tmp_path: Path) -> None:
    bundle = build(tmp_path)
    assert bundle.privacy.tables == {}
    assert bundle.quality.label is None
    assert bundle.lineage.source is None
    assert len(bundle.labels()) == 0


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("faker: name, unique: true", "faker: nmae", "column users.name: Faker has no method 'nmae'"),
        (
            "faker: name, unique: true",
            "faker: boolean, unique: true",
            "'boolean' has fewer than 40 different values",
        ),
        ("min_value: 5", "least: 5", "column users.credit: Faker's 'pyint' failed: "),
        ("seed: 3", "locale: xx_YY", "locale 'xx_YY' is unknown to Faker"),
        ("users.age, visit", "users.name, visit", "calculates with 'users.name', which holds string"),
    ],
)
def test_what_a_column_cannot_do_is_told_where_it_stands(
    tmp_path: Path, old: str, new: str, what: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        build(tmp_path, TABLES.replace(old, new))
    (problem,) = caught.value.problems
    assert problem.where.file.endswith("invented.dataset.yaml")
    assert what in problem.what
    assert not list((tmp_path / "state").rglob("manifest.json"))


def test_a_method_that_comes_near_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="did you mean 'name'"):
        build(tmp_path, TABLES.replace("faker: name, unique: true", "faker: nmae"))


def test_a_locale_changes_the_names(tmp_path: Path) -> None:
    names = build(tmp_path, TABLES.replace("seed: 3", "seed: 3\nlocale: ja_JP")).table("users").column("name")
    assert not any(name.isascii() for name in names.to_pylist())
