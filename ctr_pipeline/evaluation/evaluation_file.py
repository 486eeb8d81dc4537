"""`evaluation.json`: what a run's evaluation came to, for people and later versions."""

import json
from pathlib import Path
from typing import Any, Final

from ctr_pipeline.evaluation.evaluation import Evaluation
from tracking.errors import InputError
from tracking.plain import plain

EVALUATION_FORMAT: Final = 1


def evaluation_json(evaluation: Evaluation) -> str:
    """Return an evaluation as the file holds it."""
    return json.dumps({"format": EVALUATION_FORMAT, **plain(evaluation)}, indent=1, ensure_ascii=False)


def read_evaluation(path: Path) -> dict[str, Any]:
    """Return the file's values.

    Raises:
        InputError: it is no evaluation, or a newer version wrote it.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_bytes())
        written = values["format"]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}); restore it") from error
    if written != EVALUATION_FORMAT:
        raise InputError(f"{path}: format == {written}, must be {EVALUATION_FORMAT}; update ctr-pipeline to read it")
    return values
