"""What a colleague asks of a run, as frozen values; `show` fills them, the command line prints them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepView:
    """One attempt at a step; `wall_s` in seconds, None while it runs."""

    name: str
    status: str
    run_id: str | None
    wall_s: float | None


@dataclass(frozen=True, slots=True)
class RunHead:
    """Who ran it, where and when, and how it ended; times are ISO 8601 in UTC.

    Attributes:
        outputs: the folder on this machine, None where it is gone or was elsewhere.
        step: the step that was asked for, None for the whole run.
    """

    run_id: str | None
    execution_id: str | None
    name: str
    experiment: str
    status: str
    failure: str | None
    started_utc: str
    ended_utc: str | None
    user: str | None
    host: str | None
    command: tuple[str, ...]
    tracking_uri: str
    outputs: str | None
    steps: tuple[StepView, ...]
    step: str | None


@dataclass(frozen=True, slots=True)
class ColumnView:
    """A column of the input; the role is None where it is not used."""

    name: str
    type: str
    role: str | None


@dataclass(frozen=True, slots=True)
class FileView:
    """A file of the input; size in bytes."""

    path: str
    size: int
    n_rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SplitView:
    """A part of the rows."""

    name: str
    n_rows: int
    n_clicks: int
    digest: str


@dataclass(frozen=True, slots=True)
class DataView:
    """Which data.

    Attributes:
        version: the data version, 32 hex digits.
        n_rows: rows in the input; None where the manifest is gone.
        time_range: first and last time, ISO 8601 in UTC; empty without a time column.
        pinned_uri: the store that the run pinned it in.
        pinned_here: whether this machine's store has every file now; None where it is another store.
        splits: train, validation and test; empty before the preprocess step ended.
        windows: the splits' boundaries, ISO 8601 in UTC; empty without windows of time.
    """

    name: str | None
    version: str
    source_uri: str | None
    n_rows: int | None
    columns: tuple[ColumnView, ...]
    files: tuple[FileView, ...]
    time_range: tuple[str, ...]
    pinned_uri: str | None
    pinned_here: bool | None
    splits: tuple[SplitView, ...]
    windows: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FeatureView:
    """A feature of one value; `low` and `high` are its clip, `categories` those of a native column."""

    name: str
    kind: str
    column: str | None
    low: float | None
    high: float | None
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CategoryView:
    """A category's counts in training, and its click rate drawn towards the prior, 0 to 1, as the model sees it."""

    category: str
    clicks: int
    impressions: int
    rate: float


@dataclass(frozen=True, slots=True)
class StatisticView:
    """A target statistic; `n_rare` categories were seen too seldom and count as cold."""

    name: str
    columns: tuple[str, ...]
    n_categories: int
    n_rare: int
    most_frequent: tuple[CategoryView, ...]
    highest_rate: tuple[CategoryView, ...]
    lowest_rate: tuple[CategoryView, ...]


@dataclass(frozen=True, slots=True)
class PreprocessingView:
    """The fitted preprocessing.

    Attributes:
        features: of one value each.
        statistics: of two values each, the rate and the count.
        scheme: how training rows saw statistics: "time" or "kfold"; None where it is not known any more.
        smoothing: impressions that the prior is worth.
        prior: the click rate of an unseen category, 0 to 1: `prior_rate` drawn towards the training rate.
        prior_rate: the configured rate before any row, 0 to 1.
        prior_weight: impressions that `prior_rate` is worth.
        clicks: in all training rows.
        impressions: all training rows.
        rare_impressions: a category seen less often counts as cold.
        custom: the team's own function, applied first.
    """

    features: tuple[FeatureView, ...]
    statistics: tuple[StatisticView, ...]
    scheme: str | None
    smoothing: float
    prior: float
    prior_rate: float
    prior_weight: float
    clicks: int
    impressions: int
    rare_impressions: int
    custom: str | None


@dataclass(frozen=True, slots=True)
class ParametersView:
    """Which parameters.

    Attributes:
        settings: every resolved key with its value as text.
        changed: the keys whose value is not the product's default.
        booster: what XGBoost was told, all of it.
        best_round: of boosting; None before the train step ended.
        rounds_run: of boosting.
        importance: total gain by feature, greatest first.
    """

    settings: Mapping[str, str]
    changed: tuple[str, ...]
    booster: Mapping[str, str]
    best_round: int | None
    rounds_run: int | None
    importance: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CodeView:
    """Which code.

    Attributes:
        version: the commit, marked where the tree differed from it; else the code digest's start.
        patch: from the commit to the tree as it was; None where they agreed.
        n_files: files in the source snapshot; None where it is gone.
        left_out: files that the snapshot knows by name only or by digest.
    """

    version: str | None
    digest: str
    commit: str | None
    branch: str | None
    remote: str | None
    pushed: bool
    dirty: bool
    submodules: Mapping[str, str | None]
    patch: str | None
    snapshot_digest: str | None
    n_files: int | None
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    """Which libraries and which machine; `key_packages` are those that decide about results."""

    python_version: str
    lock_digest: str
    lock_path: str | None
    key_packages: Mapping[str, str]
    packages: Mapping[str, str]
    platform: str | None
    cpu: str | None
    n_cores: int | None
    gpus: tuple[str, ...]
    timezone: str | None
    variables: Mapping[str, str]
    config_variables: Mapping[str, str]
    image_digest: str | None


@dataclass(frozen=True, slots=True)
class EstimateView:
    """A metric of the test split with its interval; `reason` says why a value or an interval is missing."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n_rows: int
    n_clicks: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class MetricsView:
    """How well it did; `level` is the intervals' confidence, 0 to 1, `unit` what the bootstrap drew."""

    estimates: tuple[EstimateView, ...]
    level: float
    unit: str
    n_units: int
    n_replicates: int


@dataclass(frozen=True, slots=True)
class SliceView:
    """A part of the test rows; `excess` is its part of the logloss beyond its fair share, in nats per row."""

    column: str
    value: str | None
    n_rows: int
    n_clicks: int
    ctr: float | None
    mean_prediction: float
    calibration: EstimateView
    logloss: EstimateView
    auc: float | None
    excess: float


@dataclass(frozen=True, slots=True)
class RecipeView:
    """How sure it can be redone; `outputs` are digests by layer, `timings` seconds."""

    digest: str
    grade: str | None
    missing: tuple[str, ...]
    outputs: Mapping[str, str]
    timings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunView:
    """All of it; what a run has not come to yet, or has lost, is None or empty, and `notes` say why."""

    run: RunHead
    data: DataView
    preprocessing: PreprocessingView | None
    parameters: ParametersView
    code: CodeView
    environment: EnvironmentView
    metrics: MetricsView | None
    slices: tuple[SliceView, ...]
    recipe: RecipeView
    notes: tuple[str, ...]
