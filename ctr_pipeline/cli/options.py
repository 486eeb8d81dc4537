"""Options that several commands share."""

from collections.abc import Callable

import click


def json_option[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Add `--json` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")(command)


def tracker_options[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Add the options that say which tracker is meant."""
    config = click.option(
        "--config", "-c", metavar="FILE", help="YAML file that names the tracker; default: configs/default.yaml."
    )
    uri = click.option("--tracking-uri", metavar="URI", help="The tracker; default: the config's, else the home's own.")
    return config(uri(command))
