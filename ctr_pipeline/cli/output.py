"""How results are printed: JSON for machines on standard output, tables for people."""

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
