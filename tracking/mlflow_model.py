"""The script inside every logged model: raw rows in, click probabilities out.

MLflow runs it when it loads the model, with the model's own `code` folder in front of the import path. Nothing in this
package imports it; it is copied into each model.
"""

import importlib
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from mlflow.pyfunc.model import PythonModel, PythonModelContext

_PACKAGE = "ctr_pipeline"


class ClickModel(PythonModel):
    """Scores raw impressions with the predictor that the model carries."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model folder with the code beside it.

        Args:
            context: knows where MLflow put the model folder.

        Raises:
            ImportError: the process has already loaded other code under the package's name.
        """
        folder = Path(context.artifacts["model"])
        # By name, so that the package layers (tracking below ctr_pipeline) hold for everything that is really imported.
        predictor = importlib.import_module(f"{_PACKAGE}.predictor")
        _refuse_foreign_code(folder.parent.parent / "code")
        self.predictor = predictor.Predictor.load(folder)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> npt.NDArray[np.float64]:
        """Score rows.

        Args:
            context: not needed any more.
            model_input: raw rows; columns that the model does not know are ignored, optional ones may be missing.
            params: none are known.

        Returns:
            Probability of a click, float64, one per row.
        """
        del context, params
        scores: npt.NDArray[np.float64] = self.predictor.predict(to_table(model_input, self.predictor.input_schema))
        return scores


def to_table(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Bring a pandas frame to the columns and types that the predictor wants.

    Args:
        rows: raw rows, any order of columns, any index.
        schema: names, types and which columns may be missing.

    Returns:
        A table with exactly these columns; times may be text (ISO 8601), and without a zone they are UTC.

    Raises:
        ValueError: a required column is missing, or a value does not fit its column's type.
    """
    columns = [_column(rows, field) for field in schema]
    return pa.table(columns, schema=schema)


def _column(rows: pd.DataFrame, field: pa.Field) -> pa.Array:
    if field.name not in rows.columns:
        if not field.nullable:
            raise ValueError(f"column {field.name!r} is missing, the model needs it as {field.type}")
        return pa.nulls(len(rows), field.type)
    try:
        column = rows[field.name]
        values = pa.array(_in_utc(column) if pa.types.is_timestamp(field.type) else column, from_pandas=True)
        array = values if isinstance(values, pa.Array) else values.combine_chunks()
        return array.cast(field.type)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ValueError(f"column {field.name!r} cannot be read as {field.type}: {error}") from error


def _in_utc(times: pd.Series) -> pd.Series:
    if not isinstance(times.dtype, np.dtype | pd.DatetimeTZDtype) or times.dtype == object:
        times = pd.to_datetime(times, utc=True, format="ISO8601")
    return times.dt.tz_convert(None) if isinstance(times.dtype, pd.DatetimeTZDtype) else times


def _refuse_foreign_code(carried: Path) -> None:
    # Python keeps one package of a name per process: without this, one model's code silently scores another's rows.
    package = importlib.import_module(_PACKAGE)
    loaded = Path(str(package.__file__)).parent
    if _python_files(carried / _PACKAGE) - _python_files(loaded):
        raise ImportError(
            f"this process has loaded another {_PACKAGE} (from {loaded}) than the model carries (in {carried}): load "
            "the model in a process of its own"
        )


def _python_files(folder: Path) -> set[tuple[str, bytes]]:
    return {(file.relative_to(folder).as_posix(), file.read_bytes()) for file in folder.rglob("*.py")}


mlflow.models.set_model(ClickModel())
