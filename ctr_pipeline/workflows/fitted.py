"""The fitted preprocessing, read from its files for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ctr_pipeline.features.encoder import Encoder, NativeFeature, NumericFeature, PlainFeature, StatisticFeature
from ctr_pipeline.features.encoder_file import load_encoder, table_file
from ctr_pipeline.features.statistics import Counts, smoothed_rates
from ctr_pipeline.workflows.run_view import CategoryView, FeatureView, PreprocessingView, StatisticView

TOP: Final = 5


def fitted_values(folder: Path, *, scheme: str | None, custom: str | None, top: int = TOP) -> PreprocessingView:
    """Return what an encoder learned.

    Args:
        folder: the encoder's.
        scheme: how training rows saw statistics.
        custom: the team's own function.
        top: categories named at each end of a statistic.

    Raises:
        InputError: the folder holds no encoder, or one of a newer format.
    """
    encoder = load_encoder(folder)
    return PreprocessingView(
        features=tuple(_feature(feature) for feature in encoder.plain),
        statistics=tuple(
            _statistic(encoder, feature, _texts(folder / table_file(place)), top)
            for place, feature in enumerate(encoder.statistics)
        ),
        scheme=scheme,
        smoothing=encoder.smoothing,
        prior=float(encoder.prior(encoder.totals)[0]),
        prior_rate=encoder.prior_rate,
        prior_weight=encoder.prior_weight,
        clicks=int(encoder.totals.clicks[0]),
        impressions=int(encoder.totals.impressions[0]),
        rare_impressions=encoder.rare_impressions,
        custom=custom,
    )


def _feature(feature: PlainFeature) -> FeatureView:
    match feature:
        case NumericFeature(name, column, low, high):
            return FeatureView(name, "numeric", column, low, high, ())
        case NativeFeature(name, column, categories):
            return FeatureView(name, "native", column, None, None, categories)
        case _:
            return FeatureView(feature.name, f"time, {feature.part}", None, None, None, ())


def _texts(path: Path) -> list[str | None]:
    texts: list[str | None] = pq.read_table(path, columns=["text"]).column("text").to_pylist()
    return texts


def _statistic(encoder: Encoder, feature: StatisticFeature, texts: Sequence[str | None], top: int) -> StatisticView:
    table = encoder.tables[feature.name]
    counts = Counts(table.clicks, table.impressions)
    rates = smoothed_rates(counts, encoder.prior(encoder.totals), encoder.smoothing)

    def named(order: npt.NDArray[np.intp]) -> tuple[CategoryView, ...]:
        return tuple(
            CategoryView(
                # A cross has no text of its own, only its key.
                category=texts[place] or f"key {int(table.keys[place]):016x}",
                clicks=int(table.clicks[place]),
                impressions=int(table.impressions[place]),
                rate=float(rates[place]),
            )
            for place in order[:top]
        )

    return StatisticView(
        name=feature.name,
        columns=feature.columns,
        n_categories=len(table.keys),
        n_rare=int(np.count_nonzero(table.impressions < encoder.rare_impressions)),
        most_frequent=named(np.lexsort((table.keys, -table.impressions))),
        highest_rate=named(np.lexsort((table.keys, -table.impressions, -rates))),
        lowest_rate=named(np.lexsort((table.keys, -table.impressions, rates))),
    )
