"""What a model folder holds beside the model: a signature, an example, pinned packages, and rows to check it with.

`tracking.mlflow_models` makes a logged model of these files without running anything.
"""

import json
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.config import Columns, Settings
from ctr_pipeline.data.hashing import hash_text, type_name
from ctr_pipeline.features.carried_code import carry_code, imported_modules
from ctr_pipeline.predictor import Predictor
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
    "text": "string",
    "integer": "long",
    "real": "double",
    "boolean": "boolean",
    "time": "datetime",
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
    rows = rows.select(predictor.input_schema.names)
    _write_json(folder / SIGNATURE_FILE, _signature(predictor.input_schema))
    _write_json(folder / EXAMPLE_FILE, list(_example(rows.slice(0, EXAMPLE_ROWS), settings.data.columns)))
    (folder / PYTHON_FILE).write_text(platform.python_version(), encoding="utf-8")
    scores = predictor.score(rows)
    custom = settings.features.custom
    if custom is not None:
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


def _example(rows: pa.Table, columns: Columns) -> Iterable[dict[str, Any]]:
    for row in rows.to_pylist():
        yield {name: _shown(name, value, columns) for name, value in row.items()}


def _shown(name: str, value: object, columns: Columns) -> object:
    if name in {columns.user, columns.group} and value is not None:
        return f"{hash_text(str(value)):016x}"
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _own_packages(custom: str, folder: Path) -> set[str]:
    """Return the installed packages that a custom function needs."""
    installed = metadata.packages_distributions()
    return {installed[module][0] for module in imported_modules(custom, folder) if module in installed}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")
