"""Our data versions as MLflow dataset inputs, and back.

MLflow's own digest misses changes (of rows after the 10,000th, for one), so ours is given to it. Within one experiment
MLflow keeps one dataset per name and digest: equal data read from a second place shows the first place's URI there.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from mlflow.entities import Dataset, InputTag
from mlflow.entities import DatasetInput as MlflowDatasetInput

from tracking.errors import InputError
from tracking.records import DataContext, DatasetInput
from tracking.secrets import redact_url

_CONTEXT_TAG: Final = "mlflow.data.context"
_SOURCE_TYPES: Final = MappingProxyType({"s3": "s3", "http": "http", "https": "http"})
_CONTEXTS: Final[Mapping[str, DataContext]] = MappingProxyType(
    {"training": "training", "validation": "validation", "test": "test", "raw": "raw"}
)


def to_mlflow(dataset: DatasetInput) -> MlflowDatasetInput:
    """Express a dataset as MLflow shows it.

    Args:
        dataset: our data version.
    """
    columns = [{"name": name, "type": kind, "required": False} for name, kind in dataset.columns]
    uri = redact_url(dataset.source_uri)
    return MlflowDatasetInput(
        Dataset(
            name=dataset.name,
            digest=dataset.digest,
            source_type=_SOURCE_TYPES.get(urlsplit(uri).scheme, "local"),
            source=json.dumps({"uri": uri}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": dataset.n_rows}),
        ),
        [InputTag(_CONTEXT_TAG, dataset.context)],
    )


def from_mlflow(logged: MlflowDatasetInput) -> DatasetInput | None:
    """Read a dataset back.

    Args:
        logged: an input of a run.

    Returns:
        Our data version; None for one that was not logged by us.
    """
    dataset = logged.dataset
    context = next((tag.value for tag in logged.tags if tag.key == _CONTEXT_TAG), "raw")
    try:
        return DatasetInput(
            name=dataset.name,
            digest=dataset.digest,
            source_uri=json.loads(dataset.source)["uri"],
            n_rows=json.loads(dataset.profile or "")["num_rows"],
            columns=tuple(
                (column["name"], column["type"]) for column in json.loads(dataset.schema or "")["mlflow_colspec"]
            ),
            context=_CONTEXTS[context],
        )
    except (InputError, ValueError, KeyError, TypeError):
        return None
