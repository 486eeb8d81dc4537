"""The encoder as files: `encoder.json` and one Parquet table per statistic (format 1, `docs/encoder-format.md`)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.features.encoder import Encoder, NativeFeature, NumericFeature, PlainFeature, StatisticFeature
from ctr_pipeline.features.encoder import TimeFeature as _TimeFeature
from ctr_pipeline.features.statistics import CategoryTable, Counts
from ctr_pipeline.features.stream import FittedEncoder
from tracking.canonical import canonical_json, sha256_hex
from tracking.errors import InputError

FORMAT: Final = 1
HEADER: Final = "encoder.json"
_KINDS: Final = {NumericFeature: "numeric", NativeFeature: "native", _TimeFeature: "time"}


def save_encoder(fitted: FittedEncoder, folder: Path) -> str:
    """Write an encoder into a new folder.

    Returns:
        The encoder's digest: of its numbers, not of the files' bytes, which change with the Parquet writer.
    """
    folder.mkdir(parents=True)
    encoder = fitted.encoder
    header = _header(encoder)
    (folder / HEADER).write_bytes(canonical_json(header))
    for place, feature in enumerate(encoder.statistics):
        table = encoder.tables[feature.name]
        texts = fitted.texts.get(feature.name, pa.nulls(len(table.keys), pa.large_string()))
        pq.write_table(_arrow_table(table, texts), folder / table_file(place), compression="zstd")
    return encoder_digest(encoder)


def load_encoder(folder: Path) -> Encoder:
    """Read an encoder that `save_encoder` wrote.

    Raises:
        InputError: the folder holds no encoder, a broken one, or one of a newer format.
    """
    header = _read_header(folder)
    try:
        return _encoder(header, folder)
    except (KeyError, TypeError, OSError, pa.ArrowException) as error:
        told = " ".join(str(error).split())
        raise InputError(f"{folder}: the encoder is broken ({type(error).__name__}: {told}); restore it") from error


def _encoder(header: Mapping[str, Any], folder: Path) -> Encoder:
    statistics = tuple(StatisticFeature(item["name"], tuple(item["columns"])) for item in header["statistics"])
    tables = {feature.name: _read_table(folder / table_file(place)) for place, feature in enumerate(statistics)}
    totals = header["totals"]
    return Encoder(
        plain=tuple(_plain_feature(item) for item in header["plain"]),
        statistics=statistics,
        tables=tables,
        totals=Counts(np.array([totals["clicks"]], np.int64), np.array([totals["impressions"]], np.int64)),
        smoothing=header["smoothing"],
        prior_rate=header["prior_rate"],
        prior_weight=header["prior_weight"],
        rare_impressions=header["rare_impressions"],
    )


def encoder_digest(encoder: Encoder) -> str:
    """Return the sha256 of everything that the encoder computes with, 64 hex digits."""
    tables = [
        [sha256_hex(part.tobytes()) for part in (table.keys, table.clicks, table.impressions)]
        for table in (encoder.tables[feature.name] for feature in encoder.statistics)
    ]
    return sha256_hex(canonical_json({"header": _header(encoder), "tables": tables}))


def table_file(place: int) -> str:
    """Return the file name of the statistic number `place`: names of columns make poor file names."""
    return f"table-{place:03d}.parquet"


def _header(encoder: Encoder) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "plain": [_plain_item(feature) for feature in encoder.plain],
        "statistics": [{"name": feature.name, "columns": list(feature.columns)} for feature in encoder.statistics],
        "totals": {"clicks": int(encoder.totals.clicks[0]), "impressions": int(encoder.totals.impressions[0])},
        "smoothing": encoder.smoothing,
        "prior_rate": encoder.prior_rate,
        "prior_weight": encoder.prior_weight,
        "rare_impressions": encoder.rare_impressions,
    }


def _plain_item(feature: PlainFeature) -> dict[str, Any]:
    match feature:
        case NumericFeature(name, column, low, high):
            return {"kind": "numeric", "name": name, "column": column, "low": low, "high": high}
        case NativeFeature(name, column, categories):
            return {"kind": "native", "name": name, "column": column, "categories": list(categories)}
        case _TimeFeature(name, part):
            return {"kind": "time", "name": name, "part": part}


def _plain_feature(item: Mapping[str, Any]) -> PlainFeature:
    match item["kind"]:
        case "numeric":
            return NumericFeature(item["name"], item["column"], item["low"], item["high"])
        case "native":
            return NativeFeature(item["name"], item["column"], tuple(item["categories"]))
        case "time":
            return _TimeFeature(item["name"], item["part"])
        case unknown:
            raise InputError(
                f"encoder feature kind == {unknown!r}, must be numeric, native or time; update ctr-pipeline"
            )


def _arrow_table(table: CategoryTable, texts: pa.Array) -> pa.Table:
    return pa.table({"key": table.keys, "text": texts, "clicks": table.clicks, "impressions": table.impressions})


def _read_table(path: Path) -> CategoryTable:
    table = pq.read_table(path, columns=["key", "clicks", "impressions"])
    return CategoryTable(*(table.column(name).to_numpy() for name in ("key", "clicks", "impressions")))


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    try:
        header: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no {HEADER}, must be an encoder's folder") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}), must be an encoder's header; restore it") from error
    if header.get("format") != FORMAT:
        raise InputError(f"{path}: format == {header.get('format')}, must be {FORMAT}; update ctr-pipeline to read it")
    return header
