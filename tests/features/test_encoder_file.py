"""The encoder's format: it comes back as it was, older ones stay readable, and another language can serve it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.data.rows import rows_from_objects
from ctr_pipeline.features.encoder_file import HEADER, encoder_digest, load_encoder, save_encoder, table_file
from scripts import build_golden_encoder as golden
from tests.features.reference_encoder import ReferenceEncoder
from tests.house.project import ROOT
from tracking.errors import InputError

GOLDEN = ROOT / "tests" / "golden" / "encoder-1"
EXPECTED: Any = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
ROWS: Any = json.loads((GOLDEN / "rows.json").read_text(encoding="utf-8"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A copy of the golden encoder, to be damaged."""
    return Path(shutil.copytree(GOLDEN / "encoder", tmp_path / "encoder"))


def test_the_golden_encoder_is_read_and_makes_the_golden_features() -> None:
    encoder = load_encoder(GOLDEN / "encoder")
    encoded = encoder.encode(rows_from_objects(ROWS, golden.SETTINGS.data.columns))
    assert golden.expected(encoder, encoded) == EXPECTED


@pytest.mark.parametrize("place", range(len(ROWS)))
def test_plain_python_makes_the_golden_features_from_the_published_format(place: int) -> None:
    features, cold = ReferenceEncoder(GOLDEN / "encoder").encode(ROWS[place], "time")
    assert features == EXPECTED["features"][place]
    assert cold == EXPECTED["cold"][place]


def test_todays_fit_makes_the_golden_encoder(tmp_path: Path) -> None:
    golden.build(tmp_path / "new")
    for name in ("rows.json", "expected.json", f"encoder/{HEADER}"):
        assert (tmp_path / "new" / name).read_bytes() == (GOLDEN / name).read_bytes()
    for place in range(3):
        new, old = (pq.read_table(folder / "encoder" / table_file(place)) for folder in (tmp_path / "new", GOLDEN))
        assert new.equals(old)


def test_the_page_shows_the_golden_encoder() -> None:
    page = (ROOT / "docs" / "encoder-format.md").read_text(encoding="utf-8")
    assert EXPECTED["digest"] in page
    assert all(word in page for word in EXPECTED["features"][0])


def test_a_saved_encoder_comes_back_with_its_digest(tmp_path: Path) -> None:
    fitted = golden.fit()
    digest = save_encoder(fitted, tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert digest == encoder_digest(fitted.encoder) == encoder_digest(loaded)
    assert (loaded.plain, loaded.statistics) == (fitted.encoder.plain, fitted.encoder.statistics)
    rows = rows_from_objects(ROWS, golden.SETTINGS.data.columns)
    assert loaded.encode(rows).matrix.tobytes() == fitted.encoder.encode(rows).matrix.tobytes()


def test_the_digest_is_of_the_numbers_and_not_of_the_files_bytes(saved: Path) -> None:
    for place in range(3):
        path = saved / table_file(place)
        before = path.read_bytes()
        pq.write_table(pq.read_table(path), path, compression="none", row_group_size=2)
        assert path.read_bytes() != before
    assert encoder_digest(load_encoder(saved)) == EXPECTED["digest"]


def test_another_count_is_another_digest(saved: Path) -> None:
    table = pq.read_table(saved / table_file(0))
    clicks = table["clicks"].to_numpy() + np.array([1] + [0] * (table.num_rows - 1))
    place = table.schema.get_field_index("clicks")
    pq.write_table(table.set_column(place, "clicks", [clicks]), saved / table_file(0))
    assert encoder_digest(load_encoder(saved)) != EXPECTED["digest"]


def _change_header(folder: Path, **values: object) -> None:
    header = json.loads((folder / HEADER).read_bytes())
    (folder / HEADER).write_text(json.dumps(header | values), encoding="utf-8")


def test_a_newer_format_is_refused_by_its_number(saved: Path) -> None:
    _change_header(saved, format=2)
    with pytest.raises(InputError, match=r"encoder\.json: format == 2, must be 1; update ctr-pipeline to read it$"):
        load_encoder(saved)


def test_a_feature_of_an_unknown_kind_is_refused(saved: Path) -> None:
    _change_header(saved, plain=[{"kind": "learned", "name": "x"}])
    with pytest.raises(
        InputError, match=r"^encoder feature kind == 'learned', must be numeric, native or time; update"
    ):
        load_encoder(saved)


def test_a_folder_without_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no encoder\.json, must be an encoder's folder$"):
        load_encoder(tmp_path)


def test_a_broken_encoder_is_refused(saved: Path) -> None:
    (saved / table_file(1)).unlink()
    with pytest.raises(InputError, match=r"encoder: the encoder is broken \(FileNotFoundError: .*\); restore it$"):
        load_encoder(saved)
    _change_header(saved, totals={})
    with pytest.raises(InputError, match=r"encoder: the encoder is broken \(.*\); restore it$"):
        load_encoder(saved)
    (saved / HEADER).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"encoder\.json is no JSON \(.*\), must be an encoder's header; restore it$"):
        load_encoder(saved)
