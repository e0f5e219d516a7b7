"""Arrival times of a married recording: dates with times of day, zones, order, and files that break off."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.errors import DefinitionError, Location
from harness.model.arrivals import Arrivals
from harness.recording.arrivals import read_arrivals
from harness.recording.problems import Problems
from tests.golden_files import golden
from tests.unit.real_data import AZURE, needs


def offsets(folder: Path, text: str, **said: object) -> tuple[int, ...]:
    (folder / "trace.csv").write_text(text)
    arrivals = Arrivals.model_validate({"file": "trace.csv", "times": "absolute", "column": "at", **said})
    problems = Problems()
    found = read_arrivals(folder / "trace.csv", arrivals, Location("loans.recording.yaml", 5, 11), problems)
    problems.raise_if_any()
    return found


def test_dates_count_from_the_first_to_the_nanosecond(tmp_path: Path) -> None:
    text = 'at\n2023-11-16 18:17:03.9799600\n2023-11-16T18:17:04.979960001Z\n"2023-11-16 18:17:05,9799600"\n'
    assert offsets(tmp_path, text) == (0, 1_000_000_001, 2_000_000_000)


def test_zones_count_and_utc_is_meant_where_none_is_named(tmp_path: Path) -> None:
    text = "at\n2026-03-01T00:30:00+01:00\n2026-02-28T23:30:01\n2026-03-01T05:00:02+0530\n2026-02-28T18:30:03.5-05\n"
    assert offsets(tmp_path, text) == (0, 1_000_000_000, 2_000_000_000, 3_500_000_000)


def test_speed_squeezes_dates_too(tmp_path: Path) -> None:
    assert offsets(tmp_path, "at\n2026-03-01T00:00:00Z\n2026-03-01T00:00:10Z\n", speed=4) == (
        0,
        2_500_000_000,
    )


def test_times_in_any_order_are_sorted_when_asked_for(tmp_path: Path) -> None:
    text = "at\n2026-03-01T00:00:07Z\n2026-03-01T00:00:00Z\n2026-03-01T00:00:03Z\n"
    assert offsets(tmp_path, text, order="any") == (0, 3_000_000_000, 7_000_000_000)
    found = offsets(tmp_path, "at_s\n5\n1\n3\n", times="offsets", column="at_s", order="any")
    assert found == (1_000_000_000, 3_000_000_000, 5_000_000_000)


def test_a_file_without_a_last_line_break_is_whole_where_another_column_follows_the_time(
    tmp_path: Path,
) -> None:
    text = "at,tokens\n2026-03-01T00:00:00Z,1\n2026-03-01T00:00:01Z,2"
    assert offsets(tmp_path, text) == (0, 1_000_000_000)


def test_a_column_of_offsets_names_its_unit_and_one_of_dates_need_not() -> None:
    with pytest.raises(ValidationError, match="does not say its unit"):
        Arrivals.model_validate({"file": "trace.csv", "column": "TIMESTAMP"})
    assert Arrivals.model_validate({"file": "t", "column": "TIMESTAMP", "times": "absolute"}).speed == 1


WRONG = {
    "backward": "at\n2026-03-01T00:00:07Z\n2026-03-01T00:00:06.9Z\n",
    "backward across zones": "at\n2026-03-01T00:00:00Z\n2026-03-01T00:30:00+01:00\n",
    "no such date": "at\n2026-02-30T00:00:00Z\n2026-03-01T24:00:00Z\n1969-12-31T23:59:59Z\n2300-01-01\n",
    "no dates": "at\n12.5\n\n01/03/2026 10:00\n,\n2026-03-01T00:00:00+25:00\n",
    "cut off": "at\n2026-03-01T00:00:00Z\n2026-03-01T00:00:1",
    "cut off before the last column": "at,tokens\n2026-03-01T00:00:00Z,1\n2026-03-01T00:0",
}


def test_what_is_wrong_with_dates(tmp_path: Path) -> None:
    said = []
    for name, text in WRONG.items():
        with pytest.raises(DefinitionError) as error:
            offsets(tmp_path, text)
        said.append(f"# {name}\n{error.value}".replace(str(tmp_path), "FOLDER"))
    golden("recording_arrival_dates.txt", "\n\n".join(said) + "\n")


@needs(AZURE)
def test_the_azure_trace_as_it_was_published(tmp_path: Path) -> None:
    found = offsets(tmp_path, AZURE.read_text(), column="TIMESTAMP")
    assert len(found) == 8_819
    assert found[:2] == (0, 52_000_000)
    assert found[-1] == 3_435_948_056_000
