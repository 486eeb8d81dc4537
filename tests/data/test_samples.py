"""The bundled samples: what they hold, and that the builder still gives the same rows."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.data.listing import sample_names
from ctr_pipeline.data.source import TEXT, TIME, Source
from ctr_pipeline.data.version import table_digest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "obd"


def sample(name: str) -> pa.Table:
    source = Source.open(f"sample:{name}")
    return pa.Table.from_batches(list(source.batches()), source.schema)


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_samples", ROOT / "scripts" / "build_samples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_samples_are_found_by_name_and_are_small() -> None:
    assert sample_names() == ("open_bandit", "simulated_users")
    for name in sample_names():
        assert Source.open(f"sample:{name}").files[0].size < 3_000_000


def test_open_bandit_holds_the_real_clicks_in_time_order() -> None:
    table = sample("open_bandit")
    assert table.num_rows == 60_000
    times = table["timestamp"].to_numpy()
    assert (times[1:] >= times[:-1]).all()
    counts = table.group_by(["campaign", "policy"]).aggregate([("click", "sum"), ("click", "count")]).to_pylist()
    clicks = {(row["campaign"], row["policy"]): (row["click_sum"], row["click_count"]) for row in counts}
    assert clicks == {
        ("all", "random"): (38, 10_000), ("all", "bts"): (42, 10_000), ("men", "random"): (46, 10_000),
        ("men", "bts"): (69, 10_000), ("women", "random"): (46, 10_000), ("women", "bts"): (46, 10_000),
    }  # fmt: skip
    types = dict(zip(table.schema.names, table.schema.types, strict=True))
    assert (types["timestamp"], types["item_id"], types["position"]) == (TIME, TEXT, pa.int8())
    assert sum(column.null_count for column in table.columns) == 0


def test_an_items_features_are_labelled_alike_under_both_policies() -> None:
    table = sample("open_bandit")
    for n in range(4):
        assert table.group_by(["item_id", f"item_feature_{n}"]).aggregate([]).num_rows == 160


def test_simulated_users_is_a_log_with_users_requests_and_missing_numbers() -> None:
    table = sample("simulated_users")
    assert 39_000 < table.num_rows < 41_000
    assert 0.03 < pc.mean(table["click"]).as_py() < 0.05
    users = np.sort(pc.value_counts(table["user_id"]).field("counts").to_numpy())
    assert 2_500 < len(users) < 3_500
    assert users[-len(users) // 100 :].sum() > 0.1 * table.num_rows
    per_request = table.group_by("request_id").aggregate(
        [("user_id", "count_distinct"), ("timestamp", "count_distinct"), ("position", "max"), ("position", "count")]
    )
    assert pc.all(pc.equal(per_request["user_id_count_distinct"], 1)).as_py()
    assert pc.all(pc.equal(per_request["timestamp_count_distinct"], 1)).as_py()
    assert pc.all(pc.equal(per_request["position_max"].cast(pa.int64()), per_request["position_count"])).as_py()
    days = pc.max(table["timestamp"]).as_py() - pc.min(table["timestamp"]).as_py()
    assert days.days == 13
    assert 0.05 < table["ad_price"].null_count / table.num_rows < 0.1
    assert table["basket_value"].null_count > 0.2 * table.num_rows


def test_some_ads_start_late() -> None:
    table = sample("simulated_users")
    half = pc.less(table["timestamp"], pa.scalar("2026-03-09T00:00:00Z").cast(TIME))
    early = set(table.filter(half)["ad_id"].to_pylist())
    assert set(table["ad_id"].to_pylist()) - early


def test_the_simulated_sample_is_what_the_builder_gives(builder: ModuleType) -> None:
    assert table_digest(builder.simulated_users(), ordered=True) == table_digest(
        sample("simulated_users"), ordered=True
    )
    assert table_digest(builder.simulated_users(1), ordered=False) != table_digest(
        sample("simulated_users"), ordered=False
    )


def test_the_real_sample_is_what_the_builder_gives(builder: ModuleType, tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip(
            "the Open Bandit Dataset's CSV files are not here; unpack obp 0.4.1's dataset beside the repository"
        )
    assert builder.main([str(SHARED), str(tmp_path)]) == 0
    for name in sample_names():
        built = pq.read_table(tmp_path / f"{name}.parquet")
        assert table_digest(built, ordered=True) == table_digest(sample(name), ordered=True)


def test_the_builder_says_how_it_is_called(builder: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert builder.main([]) == 2
    assert "usage: python scripts/build_samples.py OBD_FOLDER" in capsys.readouterr().err
