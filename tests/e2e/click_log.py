"""A small click log that tests write as they like: a few thousand rows, clicks that depend on ad and position."""

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAYS: Final = 5
_START_US: Final = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
_DAY_US: Final = 86_400_000_000

# Few rounds and replicates: these tests are about the machinery, not about the model.
CONFIG: Final = """\
name: small
data:
  uri: {uri}
  columns:
    label: click
    time: timestamp
    user: user_id
    numeric: [price]
    categorical: [ad_id, site]
    native: [device]
    context:
      position: {{kind: numeric, pinned: 1}}
split: {{validation: 1d, test: 1d}}
features: {{time_parts: [hour]}}
train: {{rounds: 8}}
evaluate: {{replicates: 100, slices: [device]}}
"""


def make_log(n_rows: int = 4_000, seed: int = 5) -> pa.Table:
    """Draw a log of five whole days."""
    draw = np.random.default_rng(seed)
    times = np.sort(draw.integers(0, DAYS * _DAY_US, n_rows))
    times[-1] = DAYS * _DAY_US - 1
    ads, position = draw.integers(0, 40, n_rows), draw.integers(1, 4, n_rows)
    logit = -2.0 + np.sin(ads) * 1.2 - 0.4 * (position - 1)
    clicks = draw.random(n_rows) < 1 / (1 + np.exp(-logit))
    price = np.round(draw.gamma(2.0, 1.5, n_rows), 2)
    return pa.table(
        {
            "timestamp": pa.array(_START_US + times, pa.timestamp("us", tz="UTC")),
            "user_id": [f"user-{number}" for number in draw.integers(0, 400, n_rows)],
            "ad_id": [f"ad-{number}" for number in ads],
            "site": [("news", "mail", "shop")[number] for number in draw.integers(0, 3, n_rows)],
            "device": [("phone", "desktop")[number] for number in draw.integers(0, 2, n_rows)],
            "position": position,
            "price": pa.array(np.where(draw.random(n_rows) < 0.05, np.nan, price), from_pandas=True),
            "click": clicks.astype(np.int64),
        }
    )


def write_log(folder: Path, log: pa.Table) -> Path:
    """Write a log as one Parquet file and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(log, folder / "log.parquet")
    return folder / "log.parquet"


def write_config(path: Path, data: Path) -> Path:
    """Write the settings that train on a log and return their file."""
    path.write_text(CONFIG.format(uri=data), encoding="utf-8")
    return path


def scatter(log: pa.Table, folder: Path, n_parts: int, seed: int) -> Path:
    """Write a log's rows in random order over several files whose names say nothing, and return the folder."""
    draw = np.random.default_rng(seed)
    parts = np.array_split(draw.permutation(log.num_rows), n_parts)
    for part, number in zip(parts, draw.permutation(n_parts), strict=True):
        place = folder / ("a", "b")[int(draw.integers(0, 2))] / f"{number:02d}-piece.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(log.take(pa.array(part)), place, compression="gzip", row_group_size=97)
    return folder
