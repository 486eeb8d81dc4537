"""The digests' definition once more, in plain integers and without any library: the oracle of the fast one.

`python -m tests.data.reference_digest` prints the published vectors, `tests/golden/digest-vectors.json`.
"""

import hashlib
import json
import math
import struct
import sys
from collections.abc import Sequence
from typing import Any, Final

MASK: Final = 2**64 - 1
SEEDS: Final = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
TAGS: Final = {
    "null": 1,
    "boolean": 2,
    "integer": 3,
    "real": 4,
    "time": 5,
    "text": 6,
    "bytes": 7,
    "row": 8,
    "position": 9,
    "large": 10,
}

type Value = bool | int | float | str | bytes | None
type Column = tuple[str, str, Sequence[Value]]


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def seed(lane: int, tag: str) -> int:
    return mix((SEEDS[lane] + TAGS[tag]) & MASK)


def value_hash(kind: str, value: Value, lane: int) -> int:
    if value is None:
        return seed(lane, "null")
    if isinstance(value, str | bytes):
        return _bytes_hash(value.encode() if isinstance(value, str) else value, seed(lane, kind))
    if kind == "real":
        number = math.nan if math.isnan(value) else value + 0.0
        return mix(seed(lane, kind) ^ int.from_bytes(struct.pack("<d", number), "little"))
    tag = "large" if kind == "integer" and value >= 2**63 else kind
    return mix(seed(lane, tag) ^ (int(value) & MASK))


def _bytes_hash(content: bytes, start: int) -> int:
    h = start
    for at in range(0, len(content), 8):
        word = int.from_bytes(content[at : at + 8], "little")
        h = (mix(h ^ word) + word) & MASK
    return mix(h ^ len(content))


def row_hash(columns: Sequence[Column], row: int, lane: int) -> int:
    total = 0
    for name, kind, values in columns:
        total += value_hash(kind, values[row], lane) * (value_hash("text", name, lane) | 1)
    return mix((total + seed(lane, "row")) & MASK)


def table_digest(columns: Sequence[Column], n_rows: int, *, ordered: bool) -> str:
    """64 hex digits."""
    rows = [0, 0]
    for lane in (0, 1):
        for row in range(n_rows):
            h = row_hash(columns, row, lane)
            if ordered:
                h = mix((h + mix(seed(lane, "position") ^ row)) & MASK)
            rows[lane] += h
    content = {
        "columns": [
            {"digest": column_digest(kind, values), "name": name, "type": kind}
            for name, kind, values in sorted(columns)
        ],
        "format": 1,
        "n_rows": n_rows,
        "ordered": ordered,
        "rows": _hex(rows),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def column_digest(kind: str, values: Sequence[Value]) -> str:
    return _hex([sum(value_hash(kind, value, lane) for value in values) for lane in (0, 1)])


def _hex(sums: Sequence[int]) -> str:
    return "".join(f"{lane_sum & MASK:016x}" for lane_sum in sums)


VALUES: Final[tuple[tuple[str, Value], ...]] = (
    ("null", None),
    ("boolean", False),
    ("boolean", True),
    ("integer", 0),
    ("integer", 1),
    ("integer", -1),
    ("integer", 2**63 - 1),
    ("integer", 2**63),
    ("integer", 2**64 - 1),
    ("real", 0.0),
    ("real", -0.0),
    ("real", 1.0),
    ("real", 0.1),
    ("real", math.nan),
    ("real", math.inf),
    ("time", 0),
    ("time", 1_574_553_634_762_830),
    ("text", ""),
    ("text", "a"),
    ("text", "12345678"),
    ("text", "123456789"),
    ("text", "größe ✓"),
    ("text", "a\0"),
    ("bytes", b"a"),
)

TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "no rows": (("a", "integer", ()),),
    "one column": (("a", "integer", (1, 2, 3)),),
    "types and nulls": (
        ("click", "boolean", (True, False, None)),
        ("größe", "text", ("a", None, "größe ✓")),
        ("n", "null", (None, None, None)),
        ("price", "real", (0.1, math.nan, None)),
        ("raw", "bytes", (b"", b"\x00", None)),
        ("timestamp", "time", (0, -1, 1_574_553_634_762_830)),
        ("user", "integer", (None, -5, 2**63 - 1)),
    ),
}


def vectors() -> dict[str, Any]:
    return {
        "format": 1,
        "mix": [{"word": _word(x), "mixed": _word(mix(x))} for x in (0, 1, 2, MASK, SEEDS[0])],
        "values": [
            {
                "type": kind,
                "value": _shown(value),
                "lane_0": _word(value_hash(kind, value, 0)),
                "lane_1": _word(value_hash(kind, value, 1)),
            }
            for kind, value in VALUES
        ],
        "tables": [_table_vector(name, columns) for name, columns in TABLES.items()],
    }


def _table_vector(title: str, columns: Sequence[Column]) -> dict[str, Any]:
    n_rows = len(columns[0][2])
    return {
        "title": title,
        "columns": [
            {"name": name, "type": kind, "values": [_shown(v) for v in values], "digest": column_digest(kind, values)}
            for name, kind, values in columns
        ],
        "row_hashes": [_word(row_hash(columns, row, 0)) for row in range(n_rows)],
        "digest": table_digest(columns, n_rows, ordered=False),
        "ordered_digest": table_digest(columns, n_rows, ordered=True),
    }


def _word(word: int) -> str:
    return f"{word:016x}"


def _shown(value: Value) -> bool | int | float | str | None:
    if isinstance(value, bytes):
        return value.hex()
    # JSON has no NaN, infinity or exact -0, and readers lose integers beyond 2**53: these are text.
    return str(value) if isinstance(value, float) or (isinstance(value, int) and abs(value) > 2**53) else value


if __name__ == "__main__":
    sys.stdout.write(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n")
