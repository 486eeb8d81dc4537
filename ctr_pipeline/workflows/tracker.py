"""Opening the tracker that the settings name."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ctr_pipeline.workflows.execution import Home
from ctr_pipeline.workflows.provenance import PACKAGES
from tracking.errors import InputError
from tracking.secrets import redact_url
from tracking.tracker import Tracker


def open_tracker(uri: str, home: Home, sources: Sequence[Path] = ()) -> Tracker:
    """Return the tracker at an MLflow tracking URI.

    Args:
        uri: where it is.
        home: whose cache it may use.
        sources: package folders that logged models carry; by default our own as they are imported here.

    Raises:
        TrackingError: it cannot be reached.
    """
    # MLflow takes seconds to import: only those who log pay for it, and on their own thread.
    from tracking.mlflow_tracker import MlflowTracker  # noqa: PLC0415 - see above

    carried = sources or [_package_folder(name) for name in PACKAGES]
    return MlflowTracker(uri, sources=carried, templates=home.cache)


def shown_uri(uri: str) -> str:
    """Return a tracking URI as it may be shown: without credentials."""
    return redact_url(uri)


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"package {name!r} is in no folder; install ctr-pipeline unzipped")
    return Path(next(iter(spec.submodule_search_locations)))
