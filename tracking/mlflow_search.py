"""Runs found by their labels, page by page."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mlflow import MlflowClient
from mlflow.entities import Run

_PAGE: Final = 1_000
# Within MLflow's filter language without doubt; other values are compared here.
_SAFE_VALUE: Final = re.compile(r"[\w.:/@+=-]+", re.ASCII)


def experiment_ids(client: MlflowClient, name: str | None) -> list[str]:
    """Find experiments that were not deleted.

    Args:
        client: lent by the connection.
        name: only this one; None for all.
    """
    if name is not None:
        experiment = client.get_experiment_by_name(name)
        return [experiment.experiment_id] if experiment else []
    found: list[str] = []
    token = None
    while token != "":
        page = client.search_experiments(max_results=_PAGE, page_token=token)
        found += [experiment.experiment_id for experiment in page]
        token = page.token or ""
    return found


def search_runs(client: MlflowClient, experiments: Sequence[str], tags: Mapping[str, str]) -> Iterator[Run]:
    """Find runs with all of these tags, newest first.

    Args:
        client: lent by the connection.
        experiments: ids to search in.
        tags: value by key.

    Yields:
        Runs; the next page is asked for when it is needed.
    """
    clauses = (f"tags.`{key}` = '{value}'" for key, value in tags.items() if _SAFE_VALUE.fullmatch(value))
    filters = " AND ".join(clauses)
    token = None if experiments else ""
    while token != "":
        page = client.search_runs(
            list(experiments), filters, max_results=_PAGE, order_by=["attributes.start_time DESC"], page_token=token
        )
        yield from (run for run in page if tags.items() <= run.data.tags.items())
        token = page.token or ""
