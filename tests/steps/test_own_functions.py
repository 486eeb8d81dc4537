"""A team's own preprocessing and metric, from the raw rows to a model that scores without the team's tree."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.config import Settings
from ctr_pipeline.predictor import Predictor
from tests.small_log import data_folder, impressions, run_step, run_steps, small_settings
from tracking.errors import InputError

FEATURES = """
    import pyarrow as pa
    import pyarrow.compute as pc

    import own_team_steps


    def add_band(batch):
        # By name, so that a position that the page chose is seen where it is logged.
        bands = pc.floor(pc.divide(pc.fill_null(batch["price"], 0.0), own_team_steps.WIDTH))
        placed = pc.add(pc.multiply(bands, 10), pc.cast(batch["position"], pa.float64()))
        return batch.append_column("band", bands).append_column("placed", placed)


    def beside_the_mean(batch):
        price = pc.fill_null(batch["price"], 0.0)
        band = pc.subtract(price, pc.mean(price))
        return batch.append_column("band", band).append_column("placed", band)


    def by_number(batch):
        numbers = pa.array([float(user[1:]) for user in batch["user"].to_pylist()])
        return batch.append_column("band", numbers).append_column("placed", numbers)


    def fewer(batch):
        return batch.slice(0, 1)


    def failing(batch):
        raise RuntimeError("no such luck")


    def tell(batch):
        return batch.append_column("click", pa.array([1] * batch.num_rows))


    def mean_of_clicked(label, probability, weight):
        clicked = label == 1
        return float(probability[clicked].mean())


    def broken_metric(label, probability, weight):
        raise RuntimeError("no such metric")
"""
_TEAM = ("own_team_features", "own_team_steps")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A team's tree, importable as from the folder that a run is started in; forgotten afterwards."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "own_team_features.py").write_text(dedent(FEATURES), encoding="utf-8")
    (root / "own_team_steps.py").write_text("WIDTH = 20.0\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(root), *sys.path])
    importlib.invalidate_caches()
    yield root
    for name in _TEAM:
        sys.modules.pop(name, None)


def _settings(function: str = "add_band", metric: str = "mean_of_clicked") -> Settings:
    return small_settings(
        data={"columns": {"numeric": ["price", "band", "placed"]}},
        features={"custom": f"own_team_features:{function}"},
        train={"rounds": 20, "early_stopping_rounds": None},
        evaluate={"metrics": {"clicked": f"own_team_features:{metric}"}},
    )


@pytest.fixture
def data(tmp_path: Path) -> Callable[[], Path]:
    return lambda: data_folder({"a.parquet": impressions(1_500)}, tmp_path)


def test_what_the_function_makes_becomes_features_of_every_split(
    tree: Path, data: Callable[[], Path], tmp_path: Path
) -> None:
    records = run_steps(_settings(), data(), tmp_path / "out")
    for split in ("train", "validation"):
        table = pq.read_table(tmp_path / "out" / "preprocess" / f"{split}.parquet")
        price, band = table["price"].to_numpy(), table["band"].to_numpy()
        # The price is clipped at 80 after the function has seen it.
        cheap = price < 80
        assert cheap.sum() > 100
        assert (band[cheap] == np.floor(price[cheap] / 20)).all()
    assert "band" not in pq.read_schema(tmp_path / "out" / "preprocess" / "test.parquet").names
    assert {"band", "placed"} <= set(records["preprocess"].facts["feature_names"])


def test_an_own_metric_is_measured_with_its_interval(tree: Path, data: Callable[[], Path], tmp_path: Path) -> None:
    metrics = run_steps(_settings(), data(), tmp_path / "out")["evaluate"].facts["metrics"]
    predictions = pq.read_table(tmp_path / "out" / "evaluate" / "predictions.parquet")
    clicked = predictions["label"].to_numpy() == 1
    assert metrics["test.clicked"] == pytest.approx(predictions["probability"].to_numpy()[clicked].mean())
    assert metrics["test.clicked.low"] <= metrics["test.clicked.high"]


def test_the_model_scores_raw_rows_without_the_tree(tree: Path, data: Callable[[], Path], tmp_path: Path) -> None:
    run_steps(_settings(), data(), tmp_path / "out")
    model = tmp_path / "out" / "train" / "model"
    assert sorted(path.name for path in (model / "code").iterdir()) == ["own_team_features.py", "own_team_steps.py"]
    fresh = impressions(50, seed=8).drop_columns(["click", "position"])
    pq.write_table(fresh, tmp_path / "fresh.parquet")
    expected = Predictor.load(model).predict(fresh).tolist()
    assert len(set(expected)) > 20
    tree.rename(tmp_path / "gone")
    script = (
        "import json, pathlib, sys, pyarrow.parquet as pq\n"
        "from ctr_pipeline.predictor import Predictor\n"
        "predictor = Predictor.load(pathlib.Path(sys.argv[1]))\n"
        "print(json.dumps(predictor.predict(pq.read_table(sys.argv[2])).tolist()))\n"
    )
    command = [sys.executable, "-c", script, str(model), str(tmp_path / "fresh.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout) == expected


def test_a_function_that_looks_at_other_rows_is_refused(tree: Path, data: Callable[[], Path], tmp_path: Path) -> None:
    message = r"features.custom == 'own_team_features:beside_the_mean': \d+ of 100 rows score differently when they are"
    with pytest.raises(InputError, match=message):
        run_steps(_settings("beside_the_mean"), data(), tmp_path / "out")


def test_a_function_that_takes_only_ids_of_a_certain_look_is_told_of_the_hashes(
    tree: Path, data: Callable[[], Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"the rows kept with the model have hashes in user: take any value there$"):
        run_steps(_settings("by_number"), data(), tmp_path / "out")


def test_the_function_sees_the_context_pinned_when_it_scores(
    tree: Path, data: Callable[[], Path], tmp_path: Path
) -> None:
    run_steps(_settings(), data(), tmp_path / "out")
    predictor = Predictor.load(tmp_path / "out" / "train" / "model")
    rows = impressions(50, seed=8)
    elsewhere = rows.set_column(rows.schema.get_field_index("position"), "position", rows["ad"])
    assert predictor.predict(elsewhere).tolist() == predictor.predict(rows).tolist()
    logged = predictor.predict(elsewhere, context="logged").tolist()
    assert logged != predictor.predict(rows, context="logged").tolist()


def test_the_requirements_pin_what_the_carried_code_imports(
    tree: Path, data: Callable[[], Path], tmp_path: Path
) -> None:
    with (tree / "own_team_steps.py").open("a", encoding="utf-8") as source:
        source.write("import psutil\n")
    run_steps(_settings(), data(), tmp_path / "out")
    lines = (tmp_path / "out" / "train" / "model" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {"psutil", "pyarrow", "xgboost"} <= {line.partition("==")[0] for line in lines}


def test_a_model_with_another_version_of_the_loaded_code_is_refused(
    tree: Path, data: Callable[[], Path], tmp_path: Path
) -> None:
    run_steps(_settings(), data(), tmp_path / "out")
    model = tmp_path / "out" / "train" / "model"
    (model / "code" / "own_team_steps.py").write_text("WIDTH = 10.0\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"model carries another version of module 'own_team_steps' than this process has"
    ):
        Predictor.load(model)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fewer", r"^own_team_features:fewer returned 1 rows for \d+, must return as many, in order$"),
        (
            "failing",
            r"^own_team_features:failing failed on a batch of \d+ rows: RuntimeError\('no such luck'\); mend the fu",
        ),
        ("tell", r"^own_team_features:tell returned the label column 'click', must not; drop it from the batch$"),
        (
            "nowhere",
            r"^features\.custom == 'own_team_features:nowhere', must name a function of own_team_features; define",
        ),
    ],
)
def test_a_function_that_breaks_the_contract_ends_the_step(
    tree: Path, data: Callable[[], Path], tmp_path: Path, function: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run_step("preprocess", _settings(function), tmp_path / "out", data=data())


def test_a_metric_that_fails_ends_the_evaluation(tree: Path, data: Callable[[], Path], tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^own metric clicked failed \(RuntimeError: no such metric\), must return a float"
    ):
        run_steps(_settings(metric="broken_metric"), data(), tmp_path / "out")
