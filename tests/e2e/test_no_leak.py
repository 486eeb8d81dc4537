"""No label finds its way into a feature: what cannot be predicted is not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.workplace import ROOT, Workplace

pytestmark = pytest.mark.slow

_USERS: Final = ROOT / "ctr_pipeline" / "data" / "samples" / "simulated_users.parquet"


@dataclass(frozen=True, slots=True)
class Trained:
    """Figures of the test split with the bounds of their intervals."""

    entropy: float
    entropy_high: float
    recalibrated_high: float
    auc_low: float
    auc_high: float


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("no-leak")
    (folder / "project").mkdir()
    return Workplace(folder / "project", folder / "home")


def test_a_model_of_the_true_labels_beats_the_base_rate(place: Workplace) -> None:
    trained = _train(place, "sample:simulated_users")
    # Scored at the first position, where clicks are more frequent than on average: recalibration takes that shift out.
    assert trained.recalibrated_high < 1
    assert trained.entropy < 0.99
    assert trained.auc_low > 0.5


@pytest.mark.parametrize("statistics", ["time", "kfold"])
def test_a_model_of_shuffled_labels_is_no_better_than_the_base_rate(
    place: Workplace, tmp_path: Path, statistics: str
) -> None:
    log = pq.read_table(_USERS)
    shuffled = np.random.default_rng(2).permutation(log.column("click").to_numpy())
    pq.write_table(
        log.set_column(log.schema.get_field_index("click"), "click", pa.array(shuffled)), tmp_path / "log.parquet"
    )
    trained = _train(place, str(tmp_path / "log.parquet"), "--set", f"features.statistics.scheme={statistics}")
    assert trained.entropy_high >= 1
    assert trained.entropy > 0.995
    assert trained.auc_low <= 0.5 <= trained.auc_high


def _train(place: Workplace, uri: str, *arguments: str) -> Trained:
    config = ("--config", "sample:simulated_users", "--set", f"data.uri={uri}")
    metrics: dict[str, Any] = place.run("run", "--json", *config, *arguments).report["metrics"]
    return Trained(
        entropy=metrics["test.normalized_entropy"],
        entropy_high=metrics["test.normalized_entropy.high"],
        recalibrated_high=metrics["test.normalized_entropy_recalibrated.high"],
        auc_low=metrics["test.auc.low"],
        auc_high=metrics["test.auc.high"],
    )
