"""Reading the private sample: every form of a variable, and what is said about a sample that does not read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import synthetic
from harness.errors import DefinitionError
from harness.loading import load_dataset
from harness.model.dataset import Dataset, Source
from synthetic.source import Sample, locate, read_sample
from tests.unit.synthetic_samples import quiet, source_rows, write_orders, write_source

ROWS = 120


def read(folder: Path, source: Source, **variables: object) -> Sample:
    """The sample in these variables."""
    dataset = Dataset.model_validate(
        {
            "dataset": "d",
            "source": source.model_dump(),
            "variables": {"t": variables},
            "tables": {"t": {"rows": 1, "columns": {"k": {"key": "integer"}}}},
        }
    )
    return read_sample(folder / "d.yaml", dataset, locate(folder / "d.yaml", source))


def sample_of(folder: Path, cells: dict[str, list[str]], **variables: object) -> Sample:
    """The sample of a CSV file with these columns, repeated until it is long enough."""
    rows = zip(*(column * (ROWS // len(column)) for column in cells.values()), strict=True)
    lines = [",".join(cells), *(",".join(row) for row in rows)]
    (folder / "s.csv").write_text("\n".join(lines), encoding="utf-8")
    return read(folder, Source(csv="s.csv"), **variables)


A_NUMBER = {"column": "a", "type": "integer"}


def test_numbers_and_words_become_numbers(tmp_path: Path) -> None:
    sample = sample_of(
        tmp_path,
        {"n": ["1.239", " 2 ", "NA"], "i": ["7", "999", "-3"], "b": ["Yes", "f", ""], "c": ["x", "y", "NA"]},
        n={"column": "n", "type": "number", "decimals": 2},
        i={"column": "i", "type": "integer", "missing_codes": [999]},
        b={"column": "b", "type": "boolean"},
        c={"column": "c", "type": "category"},
        is_x={"column": "c", "equals": "x", "type": "integer"},
    )
    assert sample.variables == ("n", "i", "b", "c", "is_x")
    assert sample.levels == {"c": ("x", "y")}
    nan = np.nan
    np.testing.assert_array_equal(
        sample.values[:3], [[1.24, 7, 1, 0, 1], [2, nan, 0, 1, 0], [nan, -3, nan, nan, nan]]
    )


def test_indicators_become_one_category(tmp_path: Path) -> None:
    sample = sample_of(
        tmp_path,
        {"a": ["1", "0", "0", "0"], "b": ["0", "1", "0", "NA"]},
        either={"indicators": {"a": "first", "b": "second"}, "otherwise": "neither", "type": "category"},
    )
    levels = sample.levels["either"]
    codes = sample.values[:4, 0]
    assert [levels[int(code)] for code in codes[:3]] == ["first", "second", "neither"]
    assert np.isnan(codes[3])


@pytest.mark.parametrize(
    ("missing", "first", "rows"),
    [("keep", np.nan, ROWS), ("drop", 2, ROWS * 2 // 3), ("most_frequent", 2, ROWS)],
)
def test_missing_values_are_kept_dropped_or_filled(
    tmp_path: Path, missing: str, first: float, rows: int
) -> None:
    cells = {"a": ["", "2", "2"], "b": ["x", "y", "z"]}
    sample = sample_of(tmp_path, cells, a={**A_NUMBER, "missing": missing})
    assert (len(sample.values), sample.rows_read) == (rows, ROWS)
    np.testing.assert_equal(sample.values[0, 0], first)


@pytest.mark.parametrize(
    ("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_packed_files_read_by_their_ending(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / f"s.csv.{ending}").write_bytes(pack(b"a\n" + b"1\n2\n" * 30))
    sample = read(tmp_path, Source(csv=f"s.csv.{ending}"), a=A_NUMBER)
    assert sample.values[:2, 0].tolist() == [1, 2]


def test_a_file_without_a_header_takes_its_columns_from_the_definition(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("1;x\n2;y\n" * 30)
    source = Source(csv="s.csv", columns=("a", "b"), delimiter=";")
    sample = read(tmp_path, source, b={"column": "b", "type": "category"})
    assert sample.rows_read == 60
    assert sample.levels == {"b": ("x", "y")}


# What is wrong with a sample

SECRET = "Jane Roe"


def test_all_bad_columns_are_told_at_once_and_no_cell_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    rows = source_rows()
    for row in rows[6:9]:
        row["age"] = SECRET
    rows[2]["member"] = SECRET
    rows[4]["weight"] = "nan"
    for row in rows:
        row["returned"] = str(float(row["returned"]) / 2)
    folder = tmp_path / "orders"
    folder.mkdir()
    write_source(folder / "orders.csv", rows)
    with pytest.raises(DefinitionError) as caught:
        synthetic.build(*write_orders(folder), quiet)
    assert [problem.what for problem in caught.value.problems] == [
        "variable 'age': column 'age' has no integer in data row 7 (3 such rows)",
        "variable 'member': column 'member' has no boolean in data row 3 (1 such rows)",
        "variable 'weight': column 'weight' has no number in data row 5 (1 such rows)",
        "variable 'returned': column 'returned' has numbers that are not whole",
    ]
    assert SECRET not in str(caught.value)
    assert not list((tmp_path / "state").rglob("*"))


def test_unknown_columns_are_told_at_once_with_what_comes_near(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        sample_of(
            tmp_path,
            {"amount": ["1"], "kind": ["x"]},
            amuont={"column": "amuont", "type": "integer"},
            zzz={"indicators": {"q": "r"}, "otherwise": "s", "type": "category"},
        )
    assert [(problem.what, problem.fix) for problem in caught.value.problems] == [
        ("variable 'amuont': the source has no column 'amuont'", "did you mean 'amount'?"),
        ("variable 'zzz': the source has no column 'q'", "the source has: amount, kind"),
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a,b\n1\n", "has 1 cells in line 2, and 2 columns"),
        (b'a\n"Jane\n', "does not read as CSV"),
        (b"a\n\xff\xfe\n", "does not read as CSV"),
        (b"a\n1\n2\n", "has 2 usable rows; at least 50 are needed"),
        (b"", "the source has no column 'a'"),
    ],
)
def test_a_file_that_is_no_proper_sample_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(DefinitionError) as caught:
        read(tmp_path, Source(csv="s.csv"), a=A_NUMBER)
    assert what in str(caught.value)
    assert "Jane" not in str(caught.value)


def test_indicators_that_contradict_are_refused(tmp_path: Path) -> None:
    either = {"indicators": {"a": "first", "b": "second"}, "type": "category"}
    with pytest.raises(DefinitionError, match="in data row 1, 2 of the indicators a, b are 1"):
        sample_of(tmp_path, {"a": ["1"], "b": ["1"]}, either=either)
    with pytest.raises(DefinitionError, match="in data row 1, 0 of the indicators a, b are 1"):
        sample_of(tmp_path, {"a": ["0"], "b": ["0"]}, either=either)
    with pytest.raises(DefinitionError, match="indicator column 'b' is neither 0 nor 1 in data row 1"):
        sample_of(tmp_path, {"a": ["0"], "b": ["2"]}, either=either)


@pytest.mark.parametrize(
    ("label", "what"),
    [
        (lambda k: "", "'returned' is a label or a protected group and has no value in 1200 source rows"),
        (lambda k: "1", "label 'returned' must have the values 0 and 1, both of them, and has 1 values"),
        (
            lambda k: str(k % 3),
            "label 'returned' must have the values 0 and 1, both of them, and has 3 values",
        ),
    ],
)
def test_labels_must_be_0_and_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: Callable[[int], str], what: str
) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    rows = source_rows()
    for k, row in enumerate(rows):
        row["returned"] = label(k)
    write_source(tmp_path / "orders.csv", rows)
    with pytest.raises(DefinitionError) as caught:
        synthetic.build(*write_orders(tmp_path), quiet)
    assert [problem.what for problem in caught.value.problems] == [what]


def test_a_package_that_is_not_installed_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "d.dataset.yaml"
    path.write_text(
        "dataset: d\n"
        "source: {package: no_such_package_here, file: data.csv}\n"
        "variables: {t: {a: {column: a, type: integer}}}\n"
        "tables: {t: {rows: 9, columns: {a: {from: a}}}}\n"
    )
    with pytest.raises(DefinitionError) as caught:
        synthetic.find_or_build(path, load_dataset(path).value, quiet)
    assert str(caught.value) == (
        f"{path}: error: the source is a file of the Python package 'no_such_package_here', which is not installed\n"
        "  install it: pip install no_such_package_here"
    )


def test_a_package_without_that_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"the source pytest .* no\.csv cannot be read: No such file"):
        locate(tmp_path / "d.yaml", Source(package="pytest", file="no.csv"))


def test_a_source_is_known_by_name_and_digest_not_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "people.csv").write_text("a\n1\n")
    file = locate(tmp_path / "d.yaml", Source(csv="private/people.csv"))
    assert file.name == "people.csv"
    assert re.fullmatch("sha256:[0-9a-f]{64}", file.digest)
