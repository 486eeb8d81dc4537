"""Write `tests/golden/encoder-1/`: a fitted encoder, raw rows, and the features that they must become.

python scripts/build_golden_encoder.py FOLDER    # a new folder; the committed one is never written over

* `encoder/`: as `docs/encoder-format.md` describes it, fitted on some thirty made-up impressions;
* `rows.json`: raw rows as JSON objects, among them unseen, missing and out-of-range values, and times before 1970;
* `expected.json`: the encoder's digest, the features' names, and per row the binary32 bits of each feature as eight hex
  digits, most significant first (NaN is `7fc00000`), and whether the row is cold.

Whoever serves the encoder in another language reads the three and compares. The numbers are those of the version that
the folder's name says; a change of the format gets a folder of its own and leaves this one as it is.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ctr_pipeline.columns import Columns
from ctr_pipeline.config import Settings
from ctr_pipeline.data.order import distinct_words
from ctr_pipeline.data.rows import Rows, rows_from_objects
from ctr_pipeline.features.encoder import Encoded, Encoder
from ctr_pipeline.features.encoder_file import encoder_digest, save_encoder
from ctr_pipeline.features.stream import EncoderFit, FittedEncoder, TrainingBlock, period_us

SETTINGS: Final = Settings.model_validate(
    {
        "data": {
            "columns": {
                "label": "click",
                "time": "time",
                "numeric": ["price", "age"],
                "categorical": ["site", "ad"],
                "native": ["device"],
                "context": {"position": {"kind": "numeric", "pinned": 1}},
            }
        },
        "features": {
            "crosses": [["site", "device"]],
            "time_parts": ["hour", "weekday"],
            "clip": {"price": [0, 50]},
            "rare_impressions": 3,
            "statistics": {"period": "1h", "smoothing": 8, "prior_rate": 0.05, "prior_weight": 40},
        },
    }
)
ROWS: Final[list[dict[str, Any]]] = [
    {
        "time": "2026-03-02T05:30:00Z",
        "price": 12.5,
        "age": 3,
        "site": "news",
        "ad": 7,
        "device": "phone",
        "position": 1,
    },
    {
        "time": "2026-03-08T22:00:00-02:00",
        "price": 80.0,
        "age": -1,
        "site": "été",
        "ad": 8,
        "device": "desk",
        "position": 2,
    },
    {"time": "1969-12-28T12:00:00Z", "price": -3.25, "age": 0, "site": "", "ad": 9, "device": "tablet", "position": 3},
    {
        "time": "1970-01-01T00:00:00Z",
        "price": None,
        "age": None,
        "site": None,
        "ad": None,
        "device": None,
        "position": None,
    },
    {
        "time": "2026-03-05T23:59:59.999999Z",
        "price": 0.1,
        "age": 41,
        "site": "unseen",
        "ad": 10**15,
        "device": "tv",
        "position": 1,
    },
    {
        "time": "2026-03-04T00:00:00Z",
        "price": 49.99,
        "age": 2,
        "site": "a site of more than eight bytes",
        "ad": -4,
        "device": "phone",
        "position": 1,
    },
]


def build(folder: Path) -> None:
    """Write the golden files into a new folder."""
    fitted = fit()
    folder.mkdir(parents=True)
    save_encoder(fitted, folder / "encoder")
    rows = rows_from_objects(list(ROWS), SETTINGS.data.columns)
    (folder / "rows.json").write_text(_lines(ROWS), encoding="utf-8")
    (folder / "expected.json").write_text(
        json.dumps(expected(fitted.encoder, fitted.encoder.encode(rows)), indent=1) + "\n", encoding="utf-8"
    )


def fit() -> FittedEncoder:
    """Fit the encoder on the made-up impressions."""
    return EncoderFit.start(_training_blocks, SETTINGS).run(lambda *_: None)


def expected(encoder: Encoder, encoded: Encoded) -> dict[str, Any]:
    """Return what `expected.json` holds."""
    return {
        "digest": encoder_digest(encoder),
        "feature_names": list(encoder.feature_names),
        "features": [[bits(value) for value in row] for row in encoded.matrix],
        "cold": encoded.cold.tolist(),
    }


def bits(value: np.float32) -> str:
    """Return a number's binary32 bits as eight hex digits, most significant first; every NaN alike."""
    return f"{int(np.float32(np.nan if np.isnan(value) else value).view(np.uint32)):08x}"


def _training_blocks() -> Iterator[TrainingBlock]:
    columns: Columns = SETTINGS.data.columns
    sites = ["news", "shop", "été", "", None, "a site of more than eight bytes"]
    objects = [
        {
            "time": f"2026-03-{1 + place // 10:02}T{place % 10 + 8:02}:15:00Z",
            "price": place * 1.75,
            "age": place % 5,
            "site": sites[place % 6],
            "ad": (7, 8, 9, -4)[place % 4],
            "device": ("phone", "desk", "tablet")[place % 3],
            "position": place % 3 + 1,
            "click": int(place % 7 in {0, 3}),
        }
        for place in range(32)
    ]
    rows = Rows(pa.Table.from_pylist(objects), columns)
    times = rows.times_us()
    if times is None:
        raise ValueError("the made-up impressions have a time")
    words = distinct_words(np.arange(len(rows), dtype=np.uint64))
    yield TrainingBlock(rows, rows.labels(), times // period_us(SETTINGS), words)


def _lines(rows: list[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"


if __name__ == "__main__":
    build(Path(sys.argv[1]))
