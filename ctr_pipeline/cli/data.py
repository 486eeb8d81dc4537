"""``ctr-pipeline data``: data versions."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctr_pipeline.cli.options import json_option

if TYPE_CHECKING:
    from ctr_pipeline.workflows.place import Place

_store_option = click.option(
    "--store", metavar="PLACE", help="Folder or s3://bucket/prefix of pinned data; goes before the config's data.store."
)


@click.group()
def data() -> None:
    """Pin, show, restore and compare data versions.

    A VERSION is given whole or by its first characters.
    """


@data.command()
@click.argument("uri", required=False)
@click.option("--config", "-c", metavar="FILE", help="YAML file that says where the data are and how to read them.")
@_store_option
@json_option
def pin(uri: str | None, config: str | None, store: str | None, *, as_json: bool) -> None:
    """Digest impressions and keep their bytes in the store.

    URI is a file, a folder, a glob, one of these on s3://, or sample:NAME; without it the config's data are pinned,
    without a config those of configs/default.yaml.
    """
    # Here and below, so that `--help` does not wait for them.
    from ctr_pipeline.cli.data_tables import print_pinned  # noqa: PLC0415 - see above
    from ctr_pipeline.cli.output import console, page  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.data import find_source, pin_source  # noqa: PLC0415 - see above

    place = _place(store, config)
    with console().status("looking for the files"):
        request = find_source(Path.cwd(), uri, config, place)
    n_files = len(request.source.files)
    with console().status(f"pinning {n_files:,} file{'s' if n_files > 1 else ''}, {request.n_bytes:,} bytes"):
        view = pin_source(request, place)
    print_pinned(page(), view, as_json=as_json)


@data.command("list")
@_store_option
@json_option
def list_(store: str | None, *, as_json: bool) -> None:
    """List the pinned data versions."""
    from ctr_pipeline.cli.data_tables import print_list  # noqa: PLC0415 - see `pin`
    from ctr_pipeline.cli.output import page  # noqa: PLC0415 - see `pin`
    from ctr_pipeline.workflows.data import list_versions  # noqa: PLC0415 - see `pin`

    print_list(page(), list_versions(_place(store)), as_json=as_json)


@data.command()
@click.argument("version")
@_store_option
@json_option
def show(version: str, store: str | None, *, as_json: bool) -> None:
    """Show a data version: its rows, columns and files."""
    from ctr_pipeline.cli.data_tables import print_version  # noqa: PLC0415 - see `pin`
    from ctr_pipeline.cli.output import page  # noqa: PLC0415 - see `pin`
    from ctr_pipeline.workflows.data import show_version  # noqa: PLC0415 - see `pin`

    print_version(page(), show_version(version, _place(store)), as_json=as_json)


@data.command()
@click.argument("version")
@click.option("--into", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the files.")
@_store_option
@json_option
def restore(version: str, into: Path, store: str | None, *, as_json: bool) -> None:
    """Write a data version's files back, verified, also after their source was overwritten or deleted."""
    from ctr_pipeline.cli.data_tables import print_restored  # noqa: PLC0415 - see `pin`
    from ctr_pipeline.cli.output import console, page  # noqa: PLC0415 - see `pin`
    from ctr_pipeline.workflows.data import restore_version  # noqa: PLC0415 - see `pin`

    with console().status(f"restoring {version}"):
        view = restore_version(version, into, _place(store))
    print_restored(page(), view, into, as_json=as_json)


@data.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@_store_option
@json_option
def diff(before: str, after: str, store: str | None, *, as_json: bool) -> None:
    """Tell which files, columns and row counts changed from version A to version B."""
    from ctr_pipeline.cli.data_tables import print_diff  # noqa: PLC0415 - see `pin`
    from ctr_pipeline.cli.output import page  # noqa: PLC0415 - see `pin`
    from ctr_pipeline.workflows.data import compare_versions  # noqa: PLC0415 - see `pin`

    print_diff(page(), compare_versions(before, after, _place(store)), as_json=as_json)


def _place(store: str | None, config: str | None = None) -> "Place":
    from ctr_pipeline.workflows.place import find_place  # noqa: PLC0415 - see `pin`

    place = find_place(Path.cwd(), config=config)
    return place if store is None else replace(place, store_uri=store)
