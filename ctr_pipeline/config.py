"""Settings: frozen, typed values that say what a run does; every key is documented here and in `docs/configuration.md`.

A `Settings` is made by `ctr_pipeline.config_file.load_settings` from YAML, or by `Settings.from_json` inside a step.
The part that decides the result (`Settings.identity`) goes into the recipe digest; where things are kept and how many
threads run does not.
"""

import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from ctr_pipeline.columns import Columns
from ctr_pipeline.config_types import (
    Duration,
    FunctionName,
    Instant,
    MetricName,
    PositiveDuration,
    Rate,
    Section,
)
from tracking.times import duration_us

# What trackers refuse in a key; and the underscore of a name that would read as such a code.
_NOT_IN_KEYS: Final = re.compile(r"[^\w.\- ]|_(?=x[0-9a-f]+(?:_|[^\w.\- ]))")
# Keys that say where and how a run happens, not what it computes.
_CIRCUMSTANTIAL: Final = ("name", "tracking", "runtime", "reproduce")


class DataSettings(Section):
    """Where the impressions are and how to read them."""

    uri: str = Field(
        "sample:open_bandit", description="a file, a folder, a glob, `s3://bucket/...` for each of them, or sample:NAME"
    )
    store: str | None = Field(
        None,
        min_length=1,
        description="where pinned data are kept: a folder (from the project's root) or s3://bucket/prefix; null is the "
        "home folder",
    )
    format: Literal["auto", "csv", "tsv", "parquet"] = Field("auto", description="auto goes by the files' names")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="of text files; null is , or tab")
    header: bool = Field(default=True, description="text files: whether the first line names the columns")
    column_names: tuple[str, ...] = Field((), description="names for text files without a header")
    columns: Columns = Field(Columns(), description="the columns' roles")


class SplitSettings(Section):
    """How rows are divided into train, validation and test."""

    by: Literal["time", "user", "row", "files"] = Field(
        "time",
        description="windows of time, hash of the user (of the row where it is null), of the row, or given files",
    )
    validation: PositiveDuration = Field("1d", description="by time: length of the window before the test window")
    test: PositiveDuration = Field("1d", description="by time: length of the last window")
    gap: Duration = Field("0s", description="by time: rows left out before each window, so that labels can mature")
    end: Instant | None = Field(None, description="by time: end of the test window; null is the data's end")
    short_log_rate: float = Field(
        0.2,
        gt=0,
        lt=0.5,
        description="by time, logs shorter than three days: each window's share of the log's time range",
    )
    validation_rate: Rate = Field(0.1, description="by user or row: share of the hash range")
    test_rate: Rate = Field(0.2, description="by user or row: share of the hash range")
    validation_files: tuple[str, ...] = Field((), description="by files: patterns of relative paths")
    test_files: tuple[str, ...] = Field((), description="by files: patterns of relative paths")

    @model_validator(mode="after")
    def _rows_are_left_to_train_on(self) -> Self:
        if self.validation_rate + self.test_rate >= 1:
            raise ValueError("validation_rate + test_rate must be < 1, so that rows are left to train on")
        return self


class StatisticsSettings(Section):
    """Target statistics: the click rate and the count of each category, as known before the row."""

    scheme: Literal["auto", "time", "kfold"] = Field(
        "auto", description="time: from earlier periods; kfold: from the other folds; auto: time where there is one"
    )
    period: PositiveDuration = Field(
        "1h", description="a row sees the periods before its own; 1d is 'earlier days', 1us is 'earlier rows'"
    )
    label_delay: Duration = Field("0s", description="how long a click takes to be known; such late periods are unseen")
    folds: int = Field(5, ge=2, le=100, description="kfold: number of folds, by row hash")
    smoothing: float = Field(20.0, gt=0, description="impressions that the prior rate is worth")
    prior_rate: float = Field(0.01, gt=0, lt=1, description="rate before anything is known")
    prior_weight: float = Field(100.0, gt=0, description="impressions that `prior_rate` is worth in the prior")


class FeatureSettings(Section):
    """What the preprocessing makes of the columns."""

    statistics: StatisticsSettings = Field(StatisticsSettings(), description="of categorical columns and crosses")
    crosses: tuple[tuple[str, ...], ...] = Field((), description="lists of categorical or native columns to combine")
    time_parts: tuple[Literal["hour", "weekday"], ...] = Field((), description="features made of the time, in UTC")
    clip: Mapping[str, tuple[float | None, float | None]] = Field({}, description="numeric column: [low, high]")
    rare_impressions: int = Field(10, ge=1, description="a category seen less often in training counts as cold")
    custom: FunctionName | None = Field(
        None, description="module:function, an Arrow record batch in and one out, applied before everything else"
    )

    @model_validator(mode="after")
    def _parts_make_sense(self) -> Self:
        for name, (low, high) in self.clip.items():
            if low is not None and high is not None and low > high:
                raise ValueError(f"clip of {name!r} is [{low}, {high}], must be [low, high] with low <= high")
        for cross in self.crosses:
            if len(set(cross)) != len(cross) or len(cross) < 2:  # noqa: PLR2004 - a cross has parts
                raise ValueError(f"crosses has {list(cross)}, must be two or more different columns")
            if sum(set(cross) == set(other) for other in self.crosses) > 1:
                raise ValueError(f"crosses has {list(cross)} twice, must have each combination once")
        return self


class TrainSettings(Section):
    """XGBoost's settings; the defaults need no tuning on click data."""

    rounds: int = Field(600, ge=1, description="boosting rounds at most")
    early_stopping_rounds: int | None = Field(40, ge=1, description="stop after so many rounds without gain")
    learning_rate: float = Field(0.05, gt=0, le=1, description="shrinkage of each tree")
    max_depth: int = Field(6, ge=1, le=24, description="of each tree")
    min_child_weight: float = Field(5.0, ge=0, description="least sum of p(1-p) in a leaf")
    gamma: float = Field(0.0, ge=0, description="least gain of a split")
    reg_lambda: float = Field(5.0, ge=0, description="L2 penalty on leaf values")
    reg_alpha: float = Field(0.0, ge=0, description="L1 penalty on leaf values")
    subsample: float = Field(1.0, gt=0, le=1, description="share of rows per tree; below 1 the seed acts")
    colsample_bytree: float = Field(1.0, gt=0, le=1, description="share of features per tree; below 1 the seed acts")
    max_bin: int = Field(256, ge=2, le=65_535, description="histogram bins per feature")
    click_weight: float = Field(1.0, gt=0, description="of a clicked row; taken back in probabilities and curves")
    monotone: Mapping[str, Literal[-1, 0, 1]] = Field({}, description="feature: -1 falling, 1 rising")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where XGBoost computes")


class EvaluateSettings(Section):
    """What is measured on the test split."""

    replicates: int = Field(500, ge=100, le=10_000, description="bootstrap replicates at most")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of every interval")
    calibration_bins: int = Field(20, ge=2, le=1_000, description="equal-mass bins of the ECE")
    lift_at: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.01, 0.05, 0.1, 0.2), description="shares of the rows, best scores first"
    )
    slices: tuple[str, ...] = Field((), description="columns whose values are evaluated apart")
    slice_min_rows: int = Field(100, ge=1, description="values with fewer rows are listed as too few to tell")
    slice_min_clicks: int = Field(5, ge=1, description="values with fewer clicks are listed as too few to tell")
    metrics: Mapping[MetricName, FunctionName] = Field({}, description="own metrics, name: module:function")


class TrackingSettings(Section):
    """Where runs are recorded; no part of a run's identity."""

    uri: str | None = Field(None, description="MLflow tracking URI; null is a SQLite file in the home folder")
    experiment: str = Field("ctr-pipeline", min_length=1, description="MLflow experiment")
    model_name: str = Field("ctr-model", min_length=1, description="name of the logged model")


class RuntimeSettings(Section):
    """How a run uses the machine; no part of a run's identity."""

    threads: int | None = Field(None, ge=1, description="threads of a step; null is the number of cores")
    batch_rows: int = Field(262_144, ge=1, description="rows in memory at once while preprocessing, about")


class ReproduceSettings(Section):
    """What is measured beside a run, so that its re-run can be judged by it; no part of a run's identity."""

    noise_runs: int | None = Field(
        None,
        ge=5,
        le=100,
        description="extra runs that change what chance touches: their spread is the run's noise band; null measures "
        "none",
    )


class Settings(Section):
    """Everything that a run is told."""

    name: str = Field("ctr", min_length=1, description="prefix of the runs' names")
    seed: int = Field(7, ge=0, le=2**31 - 1, description="of everything that draws")
    as_of: Instant | None = Field(
        None, description="the run's clock: rows at or after it are left out; null is the data's end"
    )
    data: DataSettings = Field(DataSettings(), description="the impressions")
    split: SplitSettings = Field(SplitSettings(), description="train, validation and test")
    features: FeatureSettings = Field(FeatureSettings(), description="the preprocessing")
    train: TrainSettings = Field(TrainSettings(), description="the model")
    evaluate: EvaluateSettings = Field(EvaluateSettings(), description="the metrics")
    tracking: TrackingSettings = Field(TrackingSettings(), description="the tracker")
    runtime: RuntimeSettings = Field(RuntimeSettings(), description="the machine")
    reproduce: ReproduceSettings = Field(ReproduceSettings(), description="the noise band")

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read settings that `to_json` wrote.

        Raises:
            pydantic.ValidationError: a value has a wrong type or range, or a key is unknown.
        """
        return cls.model_validate_json(text, strict=True)

    def to_json(self) -> str:
        """Return all keys, defaults included, as JSON."""
        return self.model_dump_json(indent=2)

    def resolved(self) -> dict[str, Any]:
        """Return all keys, defaults included, as plain JSON values."""
        values: dict[str, Any] = json.loads(self.model_dump_json())
        return values

    def identity(self) -> dict[str, Any]:
        """Return the part that decides the result, as plain JSON values.

        That is all but names, places, threads and what is measured beside the run.
        """
        values = {key: value for key, value in self.resolved().items() if key not in _CIRCUMSTANTIAL}
        values["data"] = {key: value for key, value in values["data"].items() if key not in {"uri", "store"}}
        return values

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        columns, features = self.data.columns, self.features
        if self.split.by == "user" and columns.user is None:
            raise ValueError("split.by == 'user', must be one of time, row, files while data.columns.user is null")
        if self.split.by == "time" and columns.time is None:
            raise ValueError("split.by == 'time', must be one of user, row, files while data.columns.time is null")
        if self.split.by == "files" and not self.split.test_files:
            raise ValueError("split.test_files is empty, must name files while split.by == 'files'")
        if columns.time is None and self.as_of is not None:
            raise ValueError(
                f"as_of == {self.as_of!r}, must be null while data.columns.time is null; name the time column"
            )
        if columns.time is None and (features.time_parts or features.statistics.scheme == "time"):
            raise ValueError("features need a time column while data.columns.time is null; name it, or use kfold")
        if columns.label in self.evaluate.slices:
            raise ValueError(f"evaluate.slices names the label {columns.label!r}, must name other columns; take it out")
        delay, gap = features.statistics.label_delay, self.split.gap
        if self.split.by == "time" and duration_us(gap) < duration_us(delay):
            raise ValueError(
                f"split.gap == {gap!r}, must be at least features.statistics.label_delay == {delay!r}, else later rows "
                f"see clicks that nobody knew yet; set split.gap to {delay} or more"
            )
        _require_known("features.clip", features.clip, columns.numeric, "a numeric column")
        crossable = (*columns.categorical, *columns.native)
        for cross in features.crosses:
            _require_known("features.crosses", cross, crossable, "a categorical or native column")
        return self


def _require_known(key: str, names: Iterable[str], known: tuple[str, ...], what: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{key} names {name!r}, must be {what} of data.columns: {', '.join(known) or 'none'}")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted keys with short texts, as a tracker's parameters want them.

    Lists become compact JSON; null stays `null`. What a tracker refuses in a key, such as the brackets of a column
    named `a[b]`, becomes its code point: `a_x5b_b_x5d_`. Different names stay different.
    """
    pairs = (_flat_items(f"{prefix}{_legal(key)}", value) for key, value in values.items())
    return dict(chain.from_iterable(pairs))


def _flat_items(key: str, value: object) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return flatten(value, f"{key}.").items()
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return [(key, text)]


def _legal(name: str) -> str:
    return _NOT_IN_KEYS.sub(lambda match: f"_x{ord(match[0]):x}_", name)
