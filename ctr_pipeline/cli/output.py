"""How results are printed: JSON for machines on standard output, tables for people."""

import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console


def console() -> Console:
    """Return the console for people: standard error, so that standard output is free for JSON."""
    return Console(stderr=True, highlight=False)


def page() -> Console:
    """Return the console for what a command was asked for: standard output, to be read, piped or kept."""
    return Console(highlight=False)


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    json.dump(values, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


def plain(value: object) -> Any:  # noqa: ANN401 - JSON values of any shape
    """Return frozen values as what JSON can say."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value
