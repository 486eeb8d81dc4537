"""One path from raw rows to probabilities, whatever brings the rows."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ctr_pipeline.data.rows import rows_from_objects
from ctr_pipeline.model import click_probabilities
from ctr_pipeline.predictor import (
    BOOSTER_FILE,
    HEADER_FILE,
    SETTINGS_FILE,
    Predictor,
    describe_inputs,
    model_digest,
    prepare,
)
from tests.small_log import data_folder, impressions, run_step, small_settings
from tracking.errors import InputError

SETTINGS = small_settings(train={"rounds": 20, "early_stopping_rounds": None, "click_weight": 3.0})
FRESH = impressions(300, seed=9).drop_columns(["click"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    folder = tmp_path_factory.mktemp("model")
    data = data_folder({"a.parquet": impressions(1_500)}, folder)
    run_step("preprocess", SETTINGS, folder / "splits", data=data)
    run_step("train", SETTINGS, folder / "train", splits=folder / "splits")
    return folder / "train" / "model"


@pytest.fixture(scope="module")
def predictor(model: Path) -> Predictor:
    return Predictor.load(model, threads=1)


@pytest.fixture
def damaged(model: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "model"))


@pytest.mark.filterwarnings("ignore:Series.values returning")  # pyarrow 25 asks pandas 3.1 so
def test_objects_pandas_and_arrow_score_alike(predictor: Predictor) -> None:
    expected = predictor.predict(FRESH)
    assert len(set(expected.tolist())) > 50
    columns = SETTINGS.data.columns
    objects: list[Any] = FRESH.to_pylist()
    others = {
        "objects": rows_from_objects(objects, columns).table,
        "texts": rows_from_objects([{**row, "time": row["time"].isoformat()} for row in objects], columns).table,
        "pandas": pa.Table.from_pandas(FRESH.to_pandas()),
        "pandas with reals": pa.Table.from_pandas(FRESH.to_pandas().astype({"ad": "float64", "position": "float64"})),
        "pandas with categories": pa.Table.from_pandas(
            FRESH.to_pandas().astype({"site": "category", "ad": "category"})
        ),
        "numbers as text": FRESH.set_column(3, "site", FRESH["site"]).set_column(
            4, "ad", FRESH["ad"].cast(pa.string())
        ),
        "dictionaries": FRESH.set_column(5, "device", FRESH["device"].dictionary_encode()),
    }
    for name, table in others.items():
        assert predictor.predict(table).tolist() == expected.tolist(), name


def test_the_order_of_columns_and_extra_ones_do_not_matter(predictor: Predictor) -> None:
    expected = predictor.predict(FRESH).tolist()
    turned = FRESH.select(FRESH.schema.names[::-1])
    assert predictor.predict(turned).tolist() == expected
    extra = FRESH.append_column("click", pa.array([1] * 300)).append_column("other", pa.array(["x"] * 300))
    assert predictor.predict(extra).tolist() == expected
    assert predictor.predict(FRESH.drop_columns(["user"])).tolist() == expected


def test_rows_score_alike_in_any_batch(predictor: Predictor) -> None:
    whole = predictor.score(FRESH)
    parts = [predictor.score(FRESH.slice(start, 70)) for start in range(0, 300, 70)]
    assert np.concatenate([part.margins for part in parts]).tolist() == whole.margins.tolist()
    assert np.concatenate([part.cold for part in parts]).tolist() == whole.cold.tolist()
    assert predictor.predict(FRESH.combine_chunks().to_batches()[0]).tolist() == whole.probabilities.tolist()


def test_context_is_pinned_in_service_and_may_be_missing(predictor: Predictor) -> None:
    everywhere_1 = FRESH.drop_columns(["position"]).append_column("position", pa.array([1] * 300))
    expected = predictor.predict(everywhere_1, context="logged").tolist()
    assert predictor.predict(FRESH).tolist() == expected
    assert predictor.predict(FRESH.drop_columns(["position"])).tolist() == expected
    with pytest.raises(InputError, match=r"^column 'position' is missing, must be one of"):
        predictor.predict(FRESH.drop_columns(["position"]), context="logged")


def test_probabilities_are_those_of_the_margins_with_the_weight_taken_back(predictor: Predictor) -> None:
    scores = predictor.score(FRESH)
    assert scores.probabilities.tolist() == click_probabilities(scores.margins, 3.0).tolist()
    assert scores.probabilities.dtype == np.float64


def test_cold_rows_are_marked(predictor: Predictor) -> None:
    ads = FRESH["ad"].to_numpy().copy()
    ads[:10] = 999
    cold = predictor.score(FRESH.set_column(4, "ad", pa.array(ads))).cold
    assert cold[:10].all()
    assert not cold.all()


def test_no_rows_have_no_scores(predictor: Predictor) -> None:
    assert predictor.predict(FRESH.slice(0, 0)).shape == (0,)


def test_a_missing_feature_is_refused_by_name(predictor: Predictor) -> None:
    with pytest.raises(
        InputError, match=r"^column 'price' is missing, must be one of .*; mend data\.columns or the data$"
    ):
        predictor.predict(FRESH.drop_columns(["price"]))


def test_the_inputs_are_those_that_features_are_made_of(predictor: Predictor) -> None:
    names = ["time", "price", "site", "ad", "device", "position"]
    assert sorted(predictor.input_schema.names) == sorted(names)
    assert predictor.input_schema.field("time") == pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False)
    assert predictor.input_schema.field("ad") == pa.field("ad", pa.int64())
    assert predictor.predict(FRESH.select(names)).tolist() == predictor.predict(FRESH).tolist()


def test_a_column_without_any_value_has_the_type_of_its_role() -> None:
    schema = impressions(1).schema
    for name in ("price", "site", "device", "position"):
        schema = schema.set(schema.get_field_index(name), pa.field(name, pa.null()))
    context = {"position": {"kind": "numeric", "pinned": 1}}
    found = describe_inputs(schema, small_settings(data={"columns": {"context": context}}))
    types = {item["name"]: item["type"] for item in found}
    assert {name: types[name] for name in ("price", "position", "site", "device")} == {
        "price": "real",
        "position": "real",
        "site": "text",
        "device": "text",
    }


def test_a_custom_function_may_need_every_column_but_the_label() -> None:
    settings = small_settings(features={"custom": "own:f"})
    schema = pa.schema([*impressions(1).schema, pa.field("@row", pa.uint64())])
    names = [item["name"] for item in describe_inputs(schema, settings)]
    assert names == [name for name in impressions(1).schema.names if name != "click"]


@pytest.mark.parametrize("key", ["booster_digest", "encoder_digest"])
def test_the_digest_is_of_trees_and_preprocessing(damaged: Path, key: str) -> None:
    before = model_digest(damaged)
    header = json.loads((damaged / HEADER_FILE).read_bytes())
    (damaged / HEADER_FILE).write_text(json.dumps({**header, key: "0" * 64}))
    assert model_digest(damaged) != before


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"columns": {"context": {"position": {"kind": "numeric", "pinned": 4}}}}},
        {"train": {"click_weight": 2.0}},
    ],
)
def test_the_digest_is_of_all_that_decides_predictions(damaged: Path, change: dict[str, Any]) -> None:
    before = model_digest(damaged)
    (damaged / SETTINGS_FILE).write_text(small_settings(**change).to_json())
    assert model_digest(damaged) != before


def test_the_digest_is_of_the_carried_code_and_of_no_byte_code(damaged: Path) -> None:
    before = model_digest(damaged)
    (damaged / "code" / "__pycache__").mkdir(parents=True)
    (damaged / "code" / "__pycache__" / "own.pyc").write_bytes(b"x")
    assert model_digest(damaged) == before
    (damaged / "code" / "own.py").write_text("FACTOR = 2\n")
    assert model_digest(damaged) != before


def test_the_header_names_the_digests_of_what_it_lies_beside(model: Path) -> None:
    header = json.loads((model / HEADER_FILE).read_bytes())
    assert len(header["booster_digest"]) == len(header["encoder_digest"]) == 64
    assert header["feature_names"][0] == "price"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no model\.json, must be a model's folder$"):
        Predictor.load(tmp_path)


def _change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | values), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        (HEADER_FILE, {"format": 2}, r"model\.json: format == 2, must be 1; update ctr-pipeline to read it$"),
        (
            HEADER_FILE,
            {"encoder_digest": "0"},
            r"the encoder is not the one that was trained with; restore the model folder$",
        ),
        (SETTINGS_FILE, {"newer": 1}, r"settings\.json: newer: .*; score the model with the version that made it$"),
    ],
)
def test_a_model_that_is_newer_or_mixed_up_is_refused(
    damaged: Path, file: str, values: dict[str, Any], message: str
) -> None:
    _change_json(damaged / file, **values)
    with pytest.raises(InputError, match=message):
        Predictor.load(damaged)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (HEADER_FILE, r"model\.json is no JSON \(.*\), must be a model's header; restore the model folder$"),
        (BOOSTER_FILE, r"booster\.ubj is no XGBoost model file \(.*\); train again$"),
    ],
)
def test_a_damaged_model_is_refused(damaged: Path, file: str, message: str) -> None:
    (damaged / file).write_bytes(b"{")
    with pytest.raises(InputError, match=message):
        Predictor.load(damaged)


def test_a_model_without_settings_is_refused(damaged: Path) -> None:
    (damaged / SETTINGS_FILE).unlink()
    with pytest.raises(
        InputError, match=r"settings\.json is missing, must be in a model's folder; restore the model folder$"
    ):
        Predictor.load(damaged)


def test_a_custom_function_is_given_one_type_per_kind_of_column(monkeypatch: pytest.MonkeyPatch) -> None:
    module, seen = ModuleType("own_types"), []

    def note(batch: pa.RecordBatch) -> pa.RecordBatch:
        seen.append(dict(zip(batch.schema.names, map(str, batch.schema.types), strict=True)))
        return batch

    module.__dict__["note"] = note
    monkeypatch.setitem(sys.modules, "own_types", module)
    stored = pa.table(
        {
            "price": pa.array([0.1], pa.float32()),
            "ad": pa.array([3], pa.int16()),
            "site": pa.array(["a"]).dictionary_encode(),
            "time": pa.array([0], pa.timestamp("ms")),
            "huge": pa.array([2**64 - 1], pa.uint64()),
        }
    )
    prepare(stored, small_settings(features={"custom": "own_types:note"}))
    expected = {"price": "double", "ad": "int64", "site": "string", "time": "timestamp[us, tz=UTC]", "huge": "uint64"}
    assert seen == [expected]
