"""A made-up private sample and its dataset definition, small enough that a test can build it many times.

Shoppers with orders: two related tables, one variable of each type, a label and a group. Takes a folder, writes
`orders.csv` and `orders.dataset.yaml` into it.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from harness.loading import load_dataset
from harness.model.dataset import Dataset

ROOT = Path(__file__).parents[2]
SOURCE_ROWS = 1200
ROWS = 900

DEFINITION = f"""\
dataset: orders
seed: 5
source:
  csv: orders.csv
variables:
  shoppers:
    age: {{column: age, type: integer, at_least: 18}}
    member: {{column: member, type: boolean}}
    region: {{column: region, type: category}}
    tongue: {{column: tongue, type: category}}
  orders:
    amount: {{column: amount, type: number, decimals: 2, at_least: 0}}
    distance: {{column: distance, type: number, decimals: 1}}
    weight: {{column: weight, type: number, decimals: 2}}
    returned: {{column: returned, type: integer}}
tables:
  shoppers:
    rows: {ROWS}
    columns:
      shopper_id: {{key: "S{{:04d}}"}}
      full_name: {{faker: name}}
      age: {{from: age}}
      member: {{from: member}}
      region: {{from: region}}
  orders:
    rows: {ROWS}
    columns:
      order_id: {{key: integer}}
      shopper_id: {{reference: shoppers, once: true}}
      amount: {{from: amount}}
      distance: {{from: distance}}
      weight: {{from: weight}}
      cost: {{formula: "round(amount * 0.6 + distance)", type: integer}}
      channel: {{choice: {{web: 3, shop: 1}}}}
      ordered_at: {{between: [2024-01-01, 2024-01-31], type: timestamp}}
      currency: {{constant: EUR}}
  parcels:
    rows: 300
    columns:
      parcel_id: {{key: "B{{:04d}}"}}
      order_id: {{reference: orders}}
labels:
  table: orders
  key: order_id
  label: returned
  groups: [tongue]
"""

BUILD = """\
import sys
from pathlib import Path
import synthetic
from harness.loading import load_dataset
path = Path(sys.argv[1])
bundle = synthetic.build(path, load_dataset(path).value, lambda _: None)
"""
"""A program that builds the dataset of the definition it is given."""


def source_rows(rows: int = SOURCE_ROWS, seed: int = 11) -> list[dict[str, str]]:
    """Cells as text. Amount, distance and weight depend on one another and on age; returned depends on amount."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((rows, 3))
    age = np.clip(np.round(40 + 12 * hidden[:, 0]), 18, 90)
    amount = np.exp(3 + 0.4 * hidden[:, 0] + 0.6 * hidden[:, 1])
    distance = 30 + 10 * (0.6 * hidden[:, 1] + 0.8 * hidden[:, 2])
    weight = 5 + hidden[:, 2] + 0.3 * rng.standard_normal(rows)
    returned = rng.random(rows) < 1 / (1 + np.exp(-1.6 * hidden[:, 1] + 0.5))
    region = rng.choice(["north", "south", "west"], size=rows, p=[0.5, 0.3, 0.2])
    tongue = rng.choice(["de", "fr"], size=rows, p=[0.7, 0.3])
    missing = rng.random(rows) < 0.08
    return [
        {
            "age": f"{age[k]:.0f}",
            "member": "yes" if hidden[k, 0] + hidden[k, 1] > 0.4 else "no",
            "region": str(region[k]),
            "tongue": str(tongue[k]),
            "amount": f"{amount[k]:.2f}",
            "distance": "NA" if missing[k] else f"{distance[k]:.1f}",
            "weight": f"{weight[k]:.2f}",
            "returned": str(int(returned[k])),
        }
        for k in range(rows)
    ]


def write_source(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_orders(folder: Path, definition: str = DEFINITION) -> tuple[Path, Dataset]:
    """The definition's path and what it says; the sample lies beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "orders.csv").exists():
        write_source(folder / "orders.csv", source_rows())
    path = folder / "orders.dataset.yaml"
    path.write_text(definition, encoding="utf-8")
    return path, load_dataset(path).value


def python(code: str, *arguments: str | Path, state: Path) -> subprocess.Popen[str]:
    """A Python process of its own, with a state folder and a hash seed of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "READINESS_STATE_DIR": str(state), "PYTHONHASHSEED": str(len(str(state)))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def quiet(_: str) -> None:
    """Progress that nobody reads."""
