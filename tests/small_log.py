"""A small impression log with planted effects, settings that fit it, and its steps run in this process."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.config import Settings
from ctr_pipeline.data.digest_cache import DigestCache
from ctr_pipeline.data.pin import DataStore, open_pinned, pin
from ctr_pipeline.data.source import Source
from ctr_pipeline.steps import evaluate, preprocess, train
from ctr_pipeline.steps.job import FILES_FOLDER, MANIFEST_FILE, Job, Progress, StepFunction, StepRecord, perform
from tracking.folder_objects import FolderObjects
from tracking.times import DAY_US

START_US: Final = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) * 1_000_000
STEPS: Final[Mapping[str, StepFunction]] = {
    preprocess.NAME: preprocess.run,
    train.NAME: train.run,
    evaluate.NAME: evaluate.run,
}
_BASE: Final[Mapping[str, Any]] = {
    "data": {
        "columns": {
            "time": "time",
            "user": "user",
            "numeric": ["price"],
            "categorical": ["site", "ad"],
            "native": ["device"],
            "context": {"position": {"kind": "native", "pinned": 1}},
        }
    },
    "features": {"crosses": [["site", "device"]], "time_parts": ["hour", "weekday"], "clip": {"price": [None, 80]}},
    "train": {"rounds": 8, "max_depth": 3, "min_child_weight": 1, "learning_rate": 0.3},
    "evaluate": {"replicates": 100},
    "runtime": {"threads": 1},
}


def impressions(n_rows: int = 2_000, *, seed: int = 1, days: int = 6) -> pa.Table:
    """Draw a log of whole milliseconds over `days` days from 2026-03-02, about a fifth of it clicked."""
    rng = np.random.default_rng(seed)
    site = rng.integers(0, 12, n_rows)
    price = np.where(rng.random(n_rows) < 0.1, np.nan, rng.uniform(0, 100, n_rows).round(2))
    odds = -1.6 + 0.9 * np.sin(site) - 0.01 * np.nan_to_num(price)
    times = START_US + np.sort(rng.integers(0, days * DAY_US // 1_000, n_rows)) * 1_000
    return pa.table(
        {
            "time": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
            "user": pa.array([f"u{number}" for number in rng.integers(0, 200, n_rows)]),
            "price": pa.array(price, from_pandas=True),
            "site": pa.array([f"s{number}" if number else None for number in site]),
            "ad": rng.integers(0, 60, n_rows),
            "device": pa.array(rng.choice(["phone", "tablet", "desk"], n_rows).tolist()),
            "position": rng.integers(1, 4, n_rows),
            "click": (rng.random(n_rows) < 1 / (1 + np.exp(-odds))).astype(np.int8),
        }
    )


def small_settings(**sections: Any) -> Settings:  # noqa: ANN401 - YAML values
    """Return the settings that fit `impressions`, with sections laid over them: `train={"rounds": 3}`."""
    return Settings.model_validate(_laid_over(_BASE, sections))


def data_folder(files: Mapping[str, pa.Table], folder: Path) -> Path:
    """Write Parquet files and return the channel `data` of them, as the driver hands it to the first step."""
    raw, channel = folder / "raw", folder / "data"
    raw.mkdir(parents=True)
    for name, table in files.items():
        pq.write_table(table, raw / name)
    store = DataStore(FolderObjects(folder / "store"))
    manifest = pin(Source.open(str(raw)), store, DigestCache(folder / "cache"), name="small", time_column="time")
    open_pinned(manifest, store, channel / FILES_FOLDER)
    (channel / MANIFEST_FILE).write_bytes(manifest.to_json())
    return channel


def run_step(name: str, settings: Settings, output: Path, **inputs: Path) -> StepRecord:
    """Run one step in this process."""
    output.mkdir(parents=True, exist_ok=True)
    return perform(name, STEPS[name], Job(settings, inputs, output, Progress(output / "progress.json")))


def run_steps(settings: Settings, data: Path, folder: Path) -> dict[str, StepRecord]:
    """Run all three steps in this process; each one's output lies in `folder` under its name."""
    splits, model = folder / preprocess.NAME, folder / train.NAME
    return {
        "preprocess": run_step("preprocess", settings, splits, data=data),
        "train": run_step("train", settings, model, splits=splits),
        "evaluate": run_step("evaluate", settings, folder / evaluate.NAME, splits=splits, model=model),
    }


def _laid_over(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in values.items():
        known = merged.get(key)
        deeper = isinstance(known, Mapping) and isinstance(value, Mapping) and key not in {"context", "clip"}
        merged[key] = _laid_over(known, value) if deeper and isinstance(known, Mapping) else value
    return merged
