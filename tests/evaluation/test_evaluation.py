from dataclasses import replace

import numpy as np

from ctr_pipeline.evaluation.bootstrap import Resampling
from ctr_pipeline.evaluation.evaluation import evaluate
from ctr_pipeline.evaluation.panel import MetricChoice
from ctr_pipeline.evaluation.scored import SliceColumn
from ctr_pipeline.evaluation.slices import SliceRules
from tests.evaluation.logs import planted_log

FEW = Resampling(replicates=20, least_replicates=20)


def test_everything_is_measured_on_the_same_rows() -> None:
    log = planted_log(30)
    texts = [str(row % 3) for row in range(log.n_rows)]
    log = replace(
        log,
        time_us=np.arange(log.n_rows, dtype=np.int64) * 1_800_000_000,
        cold=np.arange(log.n_rows) % 2 == 0,
        slices={"site": SliceColumn.from_texts(texts), "app": SliceColumn.from_texts(texts)},
    )
    found = evaluate(log, MetricChoice(calibration_bins=7), FEW, SliceRules(min_rows=1, min_clicks=1))
    assert found.scorecard.estimates["n_rows"].value == log.n_rows
    assert len(found.reliability) == 7
    assert (len(found.hours), len(found.coldness)) == (24, 2)
    assert [table.column for table in found.slices] == ["app", "site"]
    for parts in (found.days, found.hours, found.coldness, found.slices[0].worst_first, found.reliability):
        assert sum(part.n_rows for part in parts) == log.n_rows


def test_what_has_no_column_is_empty() -> None:
    found = evaluate(planted_log(30), resampling=FEW)
    assert [found.days, found.hours, found.coldness, found.slices] == [(), (), (), ()]


def test_the_confidence_holds_for_all_intervals() -> None:
    log = replace(planted_log(30), cold=np.zeros(240, dtype=np.bool_))
    wide, narrow = (evaluate(log, resampling=replace(FEW, level=level)) for level in (0.99, 0.6))
    for left, right in (
        (wide.coldness[0].ctr, narrow.coldness[0].ctr),
        (wide.reliability[-1].ctr, narrow.reliability[-1].ctr),
    ):
        assert left.low is not None
        assert right.low is not None
        assert left.low < right.low
    assert wide.scorecard.bootstrap.level == 0.99
