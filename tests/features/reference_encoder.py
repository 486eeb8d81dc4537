"""`docs/encoder-format.md` once more, in plain Python: what somebody writes who serves the encoder elsewhere.

Nothing of the product is imported; pyarrow only reads the Parquet tables.
"""

import json
import math
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from tests.data.reference_digest import MASK, mix, value_hash

CROSS_SEED: Final = 0x2545F4914F6CDD1D
LARGEST: Final[float] = struct.unpack(">f", bytes.fromhex("7f7fffff"))[0]

type Row = dict[str, Any]
type Table = dict[int, tuple[int, int]]


class ReferenceEncoder:
    """A fitted encoder, read from its folder."""

    def __init__(self, folder: Path) -> None:
        self.header = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
        statistics = self.header["statistics"]
        self.tables = [_table(folder / f"table-{place:03d}.parquet") for place in range(len(statistics))]

    def encode(self, row: Row, time: str) -> tuple[list[str], bool]:
        """Return the row's features as binary32 bits in hex, and whether it is cold; `time` names the time column."""
        features = [self._plain(item, row, time) for item in self.header["plain"]]
        totals, weight = self.header["totals"], self.header["prior_weight"]
        prior = (totals["clicks"] + weight * self.header["prior_rate"]) / (totals["impressions"] + weight)
        cold = False
        for item, table in zip(self.header["statistics"], self.tables, strict=True):
            clicks, impressions = table.get(_key([row[column] for column in item["columns"]]), (0, 0))
            smoothing = self.header["smoothing"]
            features += [(clicks + smoothing * prior) / (impressions + smoothing), float(impressions)]
            cold |= impressions < self.header["rare_impressions"]
        return [_bits(feature) for feature in features], cold

    def _plain(self, item: dict[str, Any], row: Row, time: str) -> float:
        if item["kind"] == "numeric":
            return _clipped(row[item["column"]], item["low"], item["high"])
        if item["kind"] == "native":
            text = category_text(row[item["column"]])
            return float(item["categories"].index(text)) if text in item["categories"] else math.nan
        since = datetime.fromisoformat(row[time]) - datetime(1970, 1, 1, tzinfo=UTC)
        if item["part"] == "hour":
            return float(since // timedelta(hours=1) % 24)
        return float((since // timedelta(days=1) + 3) % 7)


def category_text(value: object) -> str | None:
    """Return a category's canonical text; the golden rows hold text, whole numbers and null."""
    if value is None:
        return None
    return str(value)


def _key(values: list[Any]) -> int:
    keys = [value_hash("text", category_text(value), 0) for value in values]
    if len(keys) == 1:
        return keys[0]
    word = CROSS_SEED
    for key in keys:
        word = (mix(word ^ key) + key) & MASK
    return word


def _clipped(value: float | None, low: float | None, high: float | None) -> float:
    if value is None or math.isnan(value):
        return math.nan
    if low is not None and value < low:
        value = low
    if high is not None and value > high:
        value = high
    return min(max(float(value), -LARGEST), LARGEST)


def _bits(value: float) -> str:
    return "7fc00000" if math.isnan(value) else struct.pack(">f", value).hex()


def _table(path: Path) -> Table:
    table = pq.read_table(path)
    columns = [table[name].to_pylist() for name in ("key", "clicks", "impressions")]
    return {key: (clicks, impressions) for key, clicks, impressions in zip(*columns, strict=True)}
