"""What a model folder holds beside the model: a signature, an example, pinned packages, and rows to check it with.

`tracking.mlflow_models` makes a logged model of these files without running anything.
"""

import json
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.columns import Columns
from ctr_pipeline.config import Settings
from ctr_pipeline.data.hashing import hash_text, type_name
from ctr_pipeline.features.carried_code import carry_code, imported_modules
from ctr_pipeline.predictor import Predictor, Scores
from tracking.errors import InputError

SIGNATURE_FILE: Final = "signature.json"
EXAMPLE_FILE: Final = "input_example.json"
REQUIREMENTS_FILE: Final = "requirements.txt"
PYTHON_FILE: Final = ".python-version"
CHECK_FILE: Final = "check.parquet"
CHECK_ROWS: Final = 100
EXAMPLE_ROWS: Final = 5
PROBABILITY: Final = "@probability"
MARGIN: Final = "@margin"
# What `Predictor` imports; mlflow and pandas are the pyfunc wrapper's.
_PACKAGES: Final = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "xgboost")
_MLFLOW_TYPES: Final = {
    "null": "string",
    # CSV logs hold numbers as text, and typed logs categories: MLflow's `string` refuses what scores just as well.
    "text": "any",
    "integer": "long",
    "real": "double",
    "boolean": "boolean",
    # MLflow's `datetime` refuses times with a zone, which is what typed logs hold.
    "time": "any",
    "bytes": "binary",
}


def write_serving_files(folder: Path, test_rows: Path, settings: Settings) -> None:
    """Complete a model folder from the first raw rows of the test split.

    Args:
        folder: a model folder that `Predictor.load` reads.
        test_rows: Parquet of raw rows.
        settings: the run's settings.
    """
    predictor = Predictor.load(folder)
    rows = _first_rows(test_rows, CHECK_ROWS)
    rows = _without_ids(rows.select(predictor.input_schema.names), settings.data.columns)
    _write_json(folder / SIGNATURE_FILE, _signature(predictor.input_schema))
    _write_json(folder / EXAMPLE_FILE, list(_example(rows.slice(0, EXAMPLE_ROWS))))
    (folder / PYTHON_FILE).write_text(platform.python_version(), encoding="utf-8")
    custom = settings.features.custom
    scores = _scored(predictor, rows, settings)
    if custom is not None:
        _refuse_joint_rows(custom, predictor, rows, scores)
        # After it was called: what it imports late is loaded now.
        carry_code(custom, folder)
    packages = {*_PACKAGES, *(_own_packages(custom, folder) if custom is not None else ())}
    lines = (f"{name}=={metadata.version(name)}\n" for name in sorted(packages))
    (folder / REQUIREMENTS_FILE).write_text("".join(lines), encoding="utf-8")
    check = rows.append_column(MARGIN, pa.array(scores.margins))
    check = check.append_column(PROBABILITY, pa.array(scores.probabilities))
    pq.write_table(check, folder / CHECK_FILE, compression="zstd")


def check_model(predictor: Predictor, folder: Path) -> None:
    """Score the kept rows again and compare the margins to the bit.

    Args:
        predictor: loaded from the folder.
        folder: a model folder.

    Raises:
        InputError: the model scores differently from when it was made.
    """
    check = pq.read_table(folder / CHECK_FILE)
    rows = check.drop_columns([MARGIN, PROBABILITY])
    scores = predictor.score(rows)
    wrong = int((scores.margins != check.column(MARGIN).to_numpy()).sum())
    if wrong:
        raise InputError(
            f"{folder}: {wrong} of {check.num_rows} check rows score differently from when the model was made; "
            "score it with the packages that its requirements.txt pins"
        )


def _first_rows(path: Path, n_rows: int) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return pa.Table.from_batches([next(file.iter_batches(n_rows))]).slice(0, n_rows)


def _signature(inputs: pa.Schema) -> dict[str, Any]:
    # pandas makes reals of whole numbers with gaps, and MLflow takes neither for the other: `any` lets both through.
    columns = [
        {
            "name": field.name,
            "type": "any" if field.nullable and field.type == pa.int64() else _MLFLOW_TYPES[type_name(field.type)],
            "required": not field.nullable,
        }
        for field in inputs
    ]
    return {"inputs": columns, "outputs": [{"name": "probability", "type": "double"}]}


def _without_ids(rows: pa.Table, columns: Columns) -> pa.Table:
    """Return rows that travel with the model: users and groups are hashed, as their column's type allows."""
    for name in {columns.user, columns.group}.intersection(rows.schema.names):
        hashes = [None if value is None else hash_text(str(value)) for value in rows[name].to_pylist()]
        kind = type_name(rows.schema.field(name).type)
        if kind == "text":
            hashed = pa.array([None if value is None else f"{value:016x}" for value in hashes], pa.string())
        elif kind == "integer":
            hashed = pa.array([None if value is None else value >> 1 for value in hashes], pa.int64())
        else:
            hashed = pa.nulls(rows.num_rows, rows.schema.field(name).type)
        rows = rows.set_column(rows.schema.get_field_index(name), name, hashed)
    return rows


def _scored(predictor: Predictor, rows: pa.Table, settings: Settings) -> Scores:
    try:
        return predictor.score(rows)
    except InputError as error:
        columns = settings.data.columns
        hashed = [name for name in rows.schema.names if name in {columns.user, columns.group}]
        if settings.features.custom is None or not hashed:
            raise
        raise InputError(
            f"{error}; the rows kept with the model have hashes in {' and '.join(hashed)}: take any value there"
        ) from error


def _refuse_joint_rows(custom: str, predictor: Predictor, rows: pa.Table, scores: Scores) -> None:
    """Refuse a custom function that looks at more than one row: in service, other rows stand beside it."""
    if rows.num_rows == 1:
        return
    half = rows.num_rows // 2
    parts = [predictor.score(part).margins for part in (rows.slice(0, half), rows.slice(half))]
    wrong = int((np.concatenate(parts) != scores.margins).sum())
    if wrong:
        raise InputError(
            f"features.custom == {custom!r}: {wrong} of {rows.num_rows} rows score differently when they are scored in "
            "two parts, must make each row of that row alone; write constants for what it takes from the other rows"
        )


def _example(rows: pa.Table) -> Iterable[dict[str, Any]]:
    for row in rows.to_pylist():
        yield {name: _shown(value) for name, value in row.items()}


def _shown(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _own_packages(custom: str, folder: Path) -> set[str]:
    """Return the installed packages that a custom function needs."""
    installed = metadata.packages_distributions()
    return {installed[module][0] for module in imported_modules(custom, folder) if module in installed}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")
