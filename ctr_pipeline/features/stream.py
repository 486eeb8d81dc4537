"""Fit an encoder on training rows and encode them, block by block: memory grows with the categories, not the rows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ctr_pipeline.columns import Columns
from ctr_pipeline.config import Settings
from ctr_pipeline.data.hashing import U64, hash_array, hash_text, mix64
from ctr_pipeline.data.rows import Rows, category_texts
from ctr_pipeline.features.encoder import (
    Encoder,
    FeatureType,
    Matrix,
    NativeFeature,
    NumericFeature,
    PlainFeature,
    StatisticFeature,
    TimeFeature,
)
from ctr_pipeline.features.statistics import CategoryTable, Counts, FoldCounts, ProgressiveCounts
from tracking.errors import InputError
from tracking.times import duration_us

MAX_NATIVE_CATEGORIES: Final = 1_000
_SHOWN_CATEGORIES: Final = 10
_TOTAL_KEY: Final = np.uint64(0)
_FOLD_SALT: Final = np.uint64(hash_text("ctr-pipeline fold"))


@dataclass(frozen=True, slots=True)
class TrainingBlock:
    """Training rows in canonical order, n of them.

    Attributes:
        rows: the raw rows.
        labels: 0 or 1, shape (n,).
        periods: never falling, shape (n,).
        words: pseudo-random, different also for equal rows, shape (n,); folds are made of them.
    """

    rows: Rows
    labels: npt.NDArray[np.uint8]
    periods: npt.NDArray[np.int64]
    words: U64


@dataclass(frozen=True, slots=True)
class FittedEncoder:
    """An encoder and, for people, the texts of its tables' keys.

    Attributes:
        encoder: what scores.
        texts: by table name, the category text of each of the table's keys; crosses have none.
    """

    encoder: Encoder
    texts: Mapping[str, pa.Array]


type Blocks = Callable[[], Iterator[TrainingBlock]]


@dataclass(frozen=True, slots=True)
class EncoderFit:
    """A fit that has looked at the training rows once and knows which features there will be.

    Attributes:
        feature_names: of the features' matrix.
        feature_types: of its columns, as XGBoost takes them.
        n_rows: training rows.
        n_clicks: clicks among them.
    """

    feature_names: tuple[str, ...]
    feature_types: tuple[FeatureType, ...]
    n_rows: int
    n_clicks: int
    _blocks: Blocks
    _settings: Settings
    _draft: Encoder
    _survey: "_Survey"

    @classmethod
    def start(cls, blocks: Blocks, settings: Settings) -> Self:
        """Look at the training rows' categories.

        Args:
            blocks: yields the training rows in canonical order, each time it is called.
            settings: the columns' roles and `features`.

        Raises:
            InputError: a column is missing, has too many native categories or an unreadable value, or two features
                have one name.
        """
        survey = _look(blocks(), settings)
        draft = _draft(settings, survey)
        _check_names(draft.feature_names)
        return cls(
            draft.feature_names,
            draft.feature_types,
            survey.n_rows,
            survey.n_clicks,
            blocks,
            settings,
            draft,
            survey,
        )

    def require_pinned_values(self) -> None:
        """Check that training rows have the values at which native context columns are pinned.

        Raises:
            InputError: one is in no training row, so that the model would score it as missing.
        """
        for name, context in self._settings.data.columns.context.items():
            if context.kind == "native" and context.pinned is not None:
                _check_pinned(name, context.pinned, self._survey)

    def run(self, write: Callable[[Matrix, npt.NDArray[np.uint8]], None]) -> FittedEncoder:
        """Encode the training rows and return the encoder fitted on them.

        A training row's statistics hold only what was known before it (`time`), or the other folds (`kfold`), so its
        own click is never among its features.

        Args:
            write: receives each block's features, shape (n, number of features), and its labels, shape (n,).

        Raises:
            InputError: a value is unreadable.
        """
        draft, settings = self._draft, self._settings
        by_fold = statistics_scheme(settings) == "kfold"
        known = _count_folds(self._blocks(), draft, settings) if by_fold else _Progress.start(draft, settings)
        for block in self._blocks():
            matrix = draft.plain_matrix(block.rows)
            prior = draft.prior(known.totals(block))
            for place, feature in enumerate(draft.statistics):
                counts = known.counts(feature, feature.keys(block.rows), block)
                draft.put_statistic(matrix, place, counts, prior)
            write(matrix, block.labels)
        tables = {feature.name: known.table(feature) for feature in draft.statistics}
        encoder = replace(draft, tables=tables, totals=_one(self.n_clicks, self.n_rows))
        survey = self._survey
        singles = [feature for feature in draft.statistics if len(feature.columns) == 1]
        texts = {f.name: survey.texts_of(f.columns[0], tables[f.name]) for f in singles}
        return FittedEncoder(encoder, texts)


def statistics_scheme(settings: Settings) -> str:
    """Return `time` or `kfold`: what `auto` means for these columns."""
    scheme = settings.features.statistics.scheme
    if scheme != "auto":
        return scheme
    return "kfold" if settings.data.columns.time is None else "time"


def period_us(settings: Settings) -> int:
    """Return the length of a period of the target statistics, in microseconds."""
    return duration_us(settings.features.statistics.period)


@dataclass(slots=True)
class _Survey:
    """What one look at the training rows tells: the categories and the totals."""

    vocabularies: dict[str, pa.Table] = field(default_factory=dict)
    n_rows: int = 0
    n_clicks: int = 0

    def learn(self, column: str, texts: pa.Array) -> None:
        encoded = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
        # A dictionary may hold null as a value too.
        seen = encoded.dictionary.take(encoded.indices.unique().drop_null()).cast(pa.large_string()).drop_null()
        table = pa.table({"key": pa.array(hash_array(seen)), "text": seen})
        table = pa.concat_tables([self.vocabularies[column], table])
        keys = table.column("key").to_numpy()
        _, first = np.unique(keys, return_index=True)
        self.vocabularies[column] = table.take(pa.array(first)).combine_chunks()

    def texts_of(self, name: str, table: CategoryTable) -> pa.Array:
        vocabulary = self.vocabularies[name]
        places = pc.index_in(pa.array(table.keys), value_set=vocabulary.column("key").combine_chunks())
        return vocabulary.column("text").combine_chunks().take(places)


def _look(blocks: Iterator[TrainingBlock], settings: Settings) -> _Survey:
    columns = settings.data.columns
    survey = _Survey({name: _empty_vocabulary() for name in (*columns.categorical, *_native_columns(columns))})
    for block in blocks:
        survey.n_rows += len(block.labels)
        survey.n_clicks += int(block.labels.sum())
        for name in survey.vocabularies:
            survey.learn(name, block.rows.texts(name))
        for name in _native_columns(columns):
            _check_native(name, survey.vocabularies[name].num_rows)
    return survey


def _empty_vocabulary() -> pa.Table:
    return pa.table({"key": pa.array([], pa.uint64()), "text": pa.array([], pa.large_string())})


def _check_native(name: str, n_categories: int) -> None:
    if n_categories > MAX_NATIVE_CATEGORIES:
        raise InputError(
            f"native column {name!r} has more than {MAX_NATIVE_CATEGORIES} categories; list it under categorical"
        )


def _check_pinned(name: str, pinned: float | str, survey: _Survey) -> None:
    known = sorted(survey.vocabularies[name].column("text").to_pylist())
    if category_texts(pa.array([pinned]))[0].as_py() in known:
        return
    shown = ", ".join(known[:_SHOWN_CATEGORIES]) + (", ..." if len(known) > _SHOWN_CATEGORIES else "")
    raise InputError(
        f"data.columns.context.{name}.pinned == {pinned!r}, must be a value of the training rows ({shown or 'none'}) "
        "or null; pin one of them"
    )


def _native_columns(columns: Columns) -> tuple[str, ...]:
    return (*columns.native, *(name for name, context in columns.context.items() if context.kind == "native"))


def _draft(settings: Settings, survey: _Survey) -> Encoder:
    """Return the encoder without its tables, which training fills."""
    statistics = settings.features.statistics
    return Encoder(
        plain=tuple(_plain_features(settings, survey)),
        statistics=tuple(_statistic_features(settings)),
        tables={},
        totals=_one(0, 0),
        smoothing=statistics.smoothing,
        prior_rate=statistics.prior_rate,
        prior_weight=statistics.prior_weight,
        rare_impressions=settings.features.rare_impressions,
    )


def _plain_features(settings: Settings, survey: _Survey) -> Iterator[PlainFeature]:
    columns, features = settings.data.columns, settings.features
    numeric_context = [name for name, context in columns.context.items() if context.kind == "numeric"]
    for name in (*columns.numeric, *numeric_context):
        low, high = features.clip.get(name, (None, None))
        yield NumericFeature(safe_name(name), name, low, high)
    for name in _native_columns(columns):
        categories = sorted(survey.vocabularies[name].column("text").to_pylist())
        yield NativeFeature(safe_name(name), name, tuple(categories))
    for part in features.time_parts:
        yield TimeFeature(f"time.{part}", part)


def _statistic_features(settings: Settings) -> Iterator[StatisticFeature]:
    for name in settings.data.columns.categorical:
        yield StatisticFeature(safe_name(name), (name,))
    for cross in settings.features.crosses:
        yield StatisticFeature(safe_name(" x ".join(cross)), cross)


def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two features are called {name!r}, must have names of their own; rename a column")


def safe_name(column: str) -> str:
    """Return a column's name as XGBoost takes it: without brackets and less-than signs."""
    return column.replace("[", "(").replace("]", ")").replace("<", "_")


def _one(clicks: int, impressions: int) -> Counts:
    return Counts(np.array([clicks], np.int64), np.array([impressions], np.int64))


class _Progress:
    """Counts known before each row by time, of every statistic and over all rows."""

    def __init__(self, lag: int, names: tuple[str, ...]) -> None:
        self._columns = {name: ProgressiveCounts(lag) for name in names}
        self._all = ProgressiveCounts(lag)

    @classmethod
    def start(cls, draft: Encoder, settings: Settings) -> "_Progress":
        period = period_us(settings)
        delay = duration_us(settings.features.statistics.label_delay)
        return cls(1 + -(-delay // period), tuple(feature.name for feature in draft.statistics))

    def totals(self, block: TrainingBlock) -> Counts:
        return self._all.observe(np.full(len(block.labels), _TOTAL_KEY), block.periods, block.labels)

    def counts(self, feature: StatisticFeature, keys: U64, block: TrainingBlock) -> Counts:
        return self._columns[feature.name].observe(keys, block.periods, block.labels)

    def table(self, feature: StatisticFeature) -> CategoryTable:
        return self._columns[feature.name].total()


class _Folds:
    """Counts of the other folds, of every statistic and over all rows."""

    def __init__(self, n_folds: int, names: tuple[str, ...]) -> None:
        self._n_folds = np.uint64(n_folds)
        self._columns = {name: FoldCounts(n_folds) for name in names}
        self._all = FoldCounts(n_folds)

    def learn(self, block: TrainingBlock, statistics: tuple[StatisticFeature, ...]) -> None:
        folds = self._of(block)
        self._all.learn(np.full(len(folds), _TOTAL_KEY), folds, block.labels)
        for feature in statistics:
            self._columns[feature.name].learn(feature.keys(block.rows), folds, block.labels)

    def totals(self, block: TrainingBlock) -> Counts:
        return self._all.others(np.full(len(block.labels), _TOTAL_KEY), self._of(block))

    def counts(self, feature: StatisticFeature, keys: U64, block: TrainingBlock) -> Counts:
        return self._columns[feature.name].others(keys, self._of(block))

    def table(self, feature: StatisticFeature) -> CategoryTable:
        return self._columns[feature.name].total()

    def _of(self, block: TrainingBlock) -> npt.NDArray[np.int64]:
        # Salted, so that folds and splits by row have nothing to do with each other.
        return ((mix64(block.words ^ _FOLD_SALT) >> np.uint64(32)) % self._n_folds).astype(np.int64)


def _count_folds(blocks: Iterator[TrainingBlock], draft: Encoder, settings: Settings) -> _Folds:
    folds = _Folds(settings.features.statistics.folds, tuple(feature.name for feature in draft.statistics))
    for block in blocks:
        folds.learn(block, draft.statistics)
    return folds
