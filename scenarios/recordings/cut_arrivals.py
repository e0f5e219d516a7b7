"""How `azure_code_arrivals.csv` was made from Microsoft's published trace; only needed to make another cut of it.

    python cut_arrivals.py AzureLLMInferenceTrace_code.csv > azure_code_arrivals.csv

Twelve stretches of 150 s that follow each other in the trace are laid over one another, as if twelve regions shared
one platform; the result is begun at second 65, and goes round. So the times between requests stay those that were
recorded, bursts and all, at a rate that fills a small service graph: 38 requests a second, 92 in the fullest second.
"""

from __future__ import annotations

import csv
import datetime as dt
import sys
from pathlib import Path

START_S, STRETCHES, STRETCH_S, BEGIN_S = 380.0, 12, 150.0, 65.0
HEAD = """\
# Arrival times, cut from "Azure LLM inference trace 2023 (code)", Azure/AzurePublicDataset, Microsoft, licence CC BY 4.0
# (https://creativecommons.org/licenses/by/4.0/). Changed: 12 consecutive stretches of 150 s laid over one another,
# times made relative, token counts left out; see cut_arrivals.py.
offset_s"""


def seconds(timestamp: str) -> float:
    """The trace gives seven decimals; six are kept."""
    return dt.datetime.fromisoformat(timestamp[:26]).replace(tzinfo=dt.UTC).timestamp()


def cut(times_s: list[float]) -> list[float]:
    first_s = times_s[0] + START_S
    inside = [time - first_s for time in times_s if 0 <= time - first_s < STRETCHES * STRETCH_S]
    return sorted((time - BEGIN_S) % STRETCH_S for time in inside)


def main(trace: str) -> None:
    with Path(trace).open(newline="") as file:
        times_s = [seconds(row["TIMESTAMP"]) for row in csv.DictReader(file)]
    print(HEAD)
    for offset_s in cut(times_s):
        print(f"{offset_s:.4f}")


if __name__ == "__main__":
    main(sys.argv[1])
