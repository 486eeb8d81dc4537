from pathlib import Path

import pytest

from tracking.batch import Batch
from tracking.errors import InputError, TrackingError
from tracking.records import DatasetInput, Metric, Param, Tag


def test_equal_items_count_once(tmp_path: Path) -> None:
    batch = Batch.of(
        [Param("a", "1", "run"), Param("a", "1"), Metric("m", 1.0), Metric("m", 1.0, scope="run")], tmp_path
    )
    assert batch.params == {"a": "1"}
    assert [(metric.key, metric.value) for metric in batch.metrics] == [("m", 1.0)]


def test_the_last_of_several_tags_holds(tmp_path: Path) -> None:
    assert Batch.of([Tag("a", "1"), Tag("a", "2")], tmp_path).tags == {"a": "2"}


def test_a_param_with_two_values_is_refused(tmp_path: Path) -> None:
    long = "x" * 100
    with pytest.raises(TrackingError, match=r"^param 'a' has two values, '1' and 'x{37}\.\.\.': emit one"):
        Batch.of([Param("a", "1"), Param("a", long)], tmp_path)


def test_a_metric_with_two_values_at_one_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^metric 'm' has two values at step 3, 1\.0 and 2\.0: emit one"):
        Batch.of([Metric("m", 1.0, 3), Metric("m", 5.0, 4), Metric("m", 2.0, 3)], tmp_path)


def test_a_dataset_with_two_digests_is_refused(tmp_path: Path) -> None:
    datasets = [DatasetInput("d", digest, "file:///d", 1, (), "raw") for digest in ("aa", "bb")]
    with pytest.raises(TrackingError, match=r"^dataset 'd' has two digests, aa and bb: emit one"):
        Batch.of(datasets, tmp_path)
