"""What two fitted preprocessings learned differently."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ctr_pipeline.data.hashing import U64
from ctr_pipeline.features.encoder import Encoder
from ctr_pipeline.features.encoder_file import load_encoder, table_file
from ctr_pipeline.features.statistics import Counts, smoothed_rates
from ctr_pipeline.workflows.diff_parts import Change, FittedDiff, MovedCategory, StatisticChange
from ctr_pipeline.workflows.diff_side import Side
from ctr_pipeline.workflows.run_view import FeatureView, PreprocessingView

MOST_MOVED: Final = 12


def fitted_diff(a: Side, b: Side) -> FittedDiff:
    """Compare what both runs fitted; where one has no encoder, that is said."""
    old, new = a.view.preprocessing, b.view.preprocessing
    if old is None or new is None or a.encoder is None or b.encoder is None:
        gone = " and ".join(name for name, view in (("A", old), ("B", new)) if view is None)
        return FittedDiff((), (), (), (), f"no fitted preprocessing of {gone or 'one of them'}: not finished, or gone")
    tables = _Tables.of(a.encoder), _Tables.of(b.encoder)
    names = tuple(dict.fromkeys((*tables[0].names, *tables[1].names)))
    statistics = tuple(_statistic(name, *tables) for name in names)
    moved = sorted(
        (move for statistic in statistics for move in statistic.moved),
        key=lambda move: (-abs(move.rate_b - move.rate_a), move.statistic, move.category),
    )
    return FittedDiff(
        facts=tuple(_facts(old, new)),
        features=tuple(_features(old, new)),
        statistics=tuple(statistic.change for statistic in statistics),
        moved=tuple(islice(moved, MOST_MOVED)),
    )


def _facts(old: PreprocessingView, new: PreprocessingView) -> Iterator[Change]:
    named = (
        ("training impressions", lambda view: f"{view.impressions:,}"),
        ("training clicks", lambda view: f"{view.clicks:,}"),
        ("prior", lambda view: f"{view.prior:.4%}"),
        ("smoothing", lambda view: f"{view.smoothing:g} impressions"),
        ("prior rate", lambda view: f"{view.prior_rate:.4%}"),
        ("prior weight", lambda view: f"{view.prior_weight:g} impressions"),
        ("rare", lambda view: f"below {view.rare_impressions} impressions"),
        ("scheme of statistics", lambda view: view.scheme),
        ("own function", lambda view: view.custom),
    )
    for name, told in named:
        yield Change(name, told(old), told(new))


def _features(old: PreprocessingView, new: PreprocessingView) -> Iterator[Change]:
    before = {feature.name: _told(feature) for feature in old.features}
    after = {feature.name: _told(feature) for feature in new.features}
    # A statistic is two features; which categories it knows is told apart.
    for view, found in ((old, before), (new, after)):
        found.update((item.name, f"statistic of {' x '.join(item.columns)}") for item in view.statistics)
    for name in dict.fromkeys((*before, *after)):
        yield Change(name, before.get(name), after.get(name))


def _told(feature: FeatureView) -> str:
    if feature.kind == "native":
        return f"native: {', '.join(feature.categories)}"
    if feature.low is None and feature.high is None:
        return feature.kind
    low, high = ("open" if bound is None else f"{bound:g}" for bound in (feature.low, feature.high))
    return f"{feature.kind}, clipped to {low} .. {high}"


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    keys: U64
    impressions: npt.NDArray[np.int64]
    rates: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    """An encoder's tables and where the categories' texts lie."""

    folder: Path
    encoder: Encoder

    @classmethod
    def of(cls, folder: Path) -> "_Tables":
        return cls(folder, load_encoder(folder))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.encoder.statistics)

    def table(self, name: str) -> _Table | None:
        if name not in self.encoder.tables:
            return None
        counts = self.encoder.tables[name]
        prior = self.encoder.prior(self.encoder.totals)
        rates = smoothed_rates(Counts(counts.clicks, counts.impressions), prior, self.encoder.smoothing)
        return _Table(counts.keys, counts.impressions, rates)

    def texts(self, name: str, places: npt.NDArray[np.intp]) -> list[str | None]:
        path = self.folder / table_file(self.names.index(name))
        found: list[str | None] = pq.read_table(path, columns=["text"]).column("text").take(places).to_pylist()
        return found


@dataclass(frozen=True, slots=True)
class _Statistic:
    change: StatisticChange
    moved: tuple[MovedCategory, ...]


def _statistic(name: str, a: _Tables, b: _Tables) -> _Statistic:
    old, new = a.table(name), b.table(name)
    if old is None or new is None:
        sizes: Mapping[str, int] = {side: len(table.keys) for side, table in (("a", old), ("b", new)) if table}
        only = {side: sizes.get(side) for side in ("a", "b")}
        return _Statistic(StatisticChange(name, only["a"], only["b"], only["a"] or 0, only["b"] or 0, 0), ())
    keys, at_old, at_new = np.intersect1d(old.keys, new.keys, assume_unique=True, return_indices=True)
    change = np.abs(new.rates[at_new] - old.rates[at_old])
    order = np.lexsort((keys, -change))[:MOST_MOVED]
    chosen = order[change[order] > 0]
    texts = a.texts(name, at_old[chosen])
    moved = tuple(
        MovedCategory(
            statistic=name,
            # A cross has no text of its own, only its key.
            category=text or f"key {int(keys[place]):016x}",
            rate_a=float(old.rates[at_old[place]]),
            rate_b=float(new.rates[at_new[place]]),
            impressions_a=int(old.impressions[at_old[place]]),
            impressions_b=int(new.impressions[at_new[place]]),
        )
        for place, text in zip(chosen, texts, strict=True)
    )
    n_moved = int(np.count_nonzero(change))
    only_a, only_b = len(old.keys) - len(keys), len(new.keys) - len(keys)
    return _Statistic(StatisticChange(name, len(old.keys), len(new.keys), only_a, only_b, n_moved), moved)
