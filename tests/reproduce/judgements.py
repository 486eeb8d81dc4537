"""Verdicts to be shown: one of each kind, with everything that a verdict can hold."""

from typing import Final

from ctr_pipeline.reproduce.verdict import (
    Circumstance,
    ColumnDifference,
    Difference,
    Ingredient,
    Judgement,
    Layer,
    MarginDifference,
    MetricDifference,
    RunSide,
    Verdict,
)
from tracking.canonical import sha256_hex

HOSTILE: Final = "<script>alert(1)</script>"
_IN: Final = ("code", "environment", "data", "settings", "clock")
_OUT: Final = (
    "split.train", "split.validation", "split.test", "encoder", "booster", "model", "margins", "predictions", "metrics",
)  # fmt: skip
_PATCH: Final = f"about this file\n--- a/bids.py\n+++ b/bids.py\n@@ -1 +1 @@\n-{HOSTILE}\n+FLOOR = 20\n"
_GONE: Final = "--- a/old.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n"


def _digest(text: str) -> str:
    return sha256_hex(text.encode())


def layers(differing: tuple[str, ...] = (), unknown: tuple[str, ...] = ()) -> tuple[Layer, ...]:
    """Return all layers; those that are named differ, or are not known now."""
    return tuple(
        Layer(
            name=name,
            part="identity" if name in _IN else "output",
            original=_digest(name),
            again=None if name in unknown else _digest(name + "*" * (name in differing)),
            note="by content" if name == "data" else "",
        )
        for name in (*_IN, *_OUT)
    )


ORIGINAL: Final = RunSide("1" * 32, "20260101-000000-aaaaaa", "search-ads", "2026-01-01T00:00:00Z", _digest("r"), 12.5)
AGAIN: Final = RunSide("2" * 32, "20260701-000000-bbbbbb", "", "2026-07-01T00:00:00Z", _digest("s"), 13.1)
INGREDIENTS: Final = (
    Ingredient("recipe", ready=True, wanted=_digest("r"), found="the run's recipe.json"),
    Ingredient("python", ready=True, wanted="3.12.8", found="3.12.8"),
)
_BAND: Final = {"margins": {"mean": 0.004, "median": 0.02, "q99": 0.02, "largest": 0.09}}
IDENTICAL: Final = Judgement(
    Verdict.IDENTICAL,
    "all outputs are equal, byte for byte",
    ORIGINAL,
    AGAIN,
    grade="A",
    ingredients=INGREDIENTS,
    layers=layers(),
    circumstances=(Circumstance("host", "build-7", "laptop"),),
    margins=MarginDifference(600, 0, 0.0, 0.0, 0.0, 0.0, 0.0),
    metrics=(MetricDifference("logloss", 0.1, 0.1), MetricDifference("auc", None, None)),
)
DIVERGED: Final = Judgement(
    Verdict.DIVERGED,
    f"booster differs first: {HOSTILE}",
    ORIGINAL,
    AGAIN,
    grade="B",
    grade_missing=("no commit",),
    ingredients=INGREDIENTS,
    layers=layers(("environment", "booster", "margins", "metrics")),
    first_divergence="booster",
    cause="xgboost 3.4.1 -> 3.5.0, inputs identical",
    differences=(
        Difference("environment", "xgboost 3.4.1 -> 3.5.0", deliberate=True),
        Difference("code", f"bids.py {HOSTILE}", detail=_PATCH + _GONE),
        Difference("data", "two files", detail="\n".join(f"line {place}" for place in range(60))),
    ),
    columns=(ColumnDifference(HOSTILE, "values", "3" * 32, "4" * 32), ColumnDifference("ad", "added", None, "text")),
    circumstances=(Circumstance("$TZ", "UTC", HOSTILE),),
    margins=MarginDifference(600, 590, 0.01, 0.01, 0.05, 0.2, 0.03),
    metrics=(MetricDifference("logloss", 0.1, 0.11, 0.05), MetricDifference("auc", 0.7, 0.6, 0.01)),
    noise=_BAND,
    notes=("--use-current-env: the environment is today's, on purpose",),
)
EQUIVALENT: Final = Judgement(
    Verdict.EQUIVALENT,
    "outputs are equal although the code differs",
    ORIGINAL,
    AGAIN,
    layers=layers(("code",)),
    cause="a comment changed",
    margins=MarginDifference(600, 1, 0.0, 0.0, 0.0, 0.1, 0.01),
)
CANNOT: Final = Judgement(
    Verdict.CANNOT,
    "data is gone: restore it from a backup",
    ORIGINAL,
    ingredients=(
        *INGREDIENTS,
        Ingredient("data", ready=False, wanted="5" * 32, found="1 of 3 files is missing", remedy="restore it"),
    ),
    layers=layers(unknown=_OUT),
)
NEW_DATA: Final = Judgement(Verdict.NEW_DATA, "run on newer data", RunSide(None, None), RunSide(None, None))
ALL: Final = (IDENTICAL, EQUIVALENT, DIVERGED, CANNOT, NEW_DATA)
