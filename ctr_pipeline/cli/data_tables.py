"""Data versions as tables and as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ctr_pipeline.cli.output import print_json
from ctr_pipeline.cli.show_tables import pairs, table
from ctr_pipeline.data.difference import ManifestDiff
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.workflows.data import VersionDiff, VersionView
from tracking.plain import plain

_SHOWN_DIGITS: Final = 16


def print_pinned(screen: Console, view: VersionView, *, as_json: bool) -> None:
    """Print a version that was just pinned."""
    if as_json:
        print_json(_short(view))
        return
    manifest = view.manifest
    screen.print(f"data version [bold]{manifest.data_version}[/bold]")
    screen.print(f"{manifest.n_rows:,} rows, {len(manifest.columns)} columns, {len(manifest.files)} files")


def print_list(screen: Console, views: Sequence[VersionView], *, as_json: bool) -> None:
    """Print all versions."""
    if as_json:
        print_json({"versions": [_short(view) for view in views]})
        return
    made = table("version", "name", ">rows", ">files", ">bytes", "first time", "")
    for view in views:
        manifest = view.manifest
        made.add_row(
            manifest.data_version[:_SHOWN_DIGITS],
            escape(manifest.name),
            f"{manifest.n_rows:,}",
            f"{len(manifest.files):,}",
            f"{view.n_bytes:,}",
            view.time_range[0][:16] if view.time_range else "",
            _state(view),
        )
    screen.print(made if views else "no data version is pinned; `ctr-pipeline data pin` does")


def print_version(screen: Console, view: VersionView, *, as_json: bool) -> None:
    """Print one version with its files and columns."""
    manifest = view.manifest
    if as_json:
        print_json({**_short(view), **{key: plain(getattr(manifest, key)) for key in ("columns", "data_format")}})
        return
    screen.print(
        pairs(
            [
                ("version", manifest.data_version),
                ("digest", manifest.digest),
                ("name", manifest.name),
                ("rows", f"{manifest.n_rows:,}"),
                ("bytes", f"{view.n_bytes:,}"),
                ("time range", " to ".join(view.time_range)),
                ("format", manifest.data_format.kind),
                ("state", _state(view) or _kept_where(manifest)),
            ]
        )
    )
    files = table("file", ">rows", ">bytes", "sha256", "")
    for file in manifest.files:
        state = "MISSING" if file.path in view.missing else ""
        files.add_row(escape(file.path), f"{file.n_rows:,}", f"{file.size:,}", file.sha256[:16], state)
    screen.print(files)
    columns = table("column", "type", "digest")
    for column in manifest.columns:
        columns.add_row(escape(column.name), column.type, column.digest)
    screen.print(columns)


def print_restored(screen: Console, view: VersionView, into: Path, *, as_json: bool) -> None:
    """Print where a version's files are now."""
    manifest = view.manifest
    if as_json:
        print_json({**_short(view), "into": str(into)})
        return
    screen.print(f"{len(manifest.files)} files of {manifest.data_version} are in {into}, verified", soft_wrap=True)


def print_diff(screen: Console, found: VersionDiff, *, as_json: bool) -> None:
    """Print what differs between two versions."""
    difference = found.difference
    if as_json:
        files = plain(found.files)
        print_json({"before": found.before, "after": found.after, **plain(difference), "files": files})
        return
    screen.print(f"{found.before}\n{found.after}")
    if difference.same_rows:
        screen.print("the same rows: equal versions" if not found.files else "the same rows in other files")
    grown = difference.n_rows_after - difference.n_rows_before
    screen.print(f"rows: {difference.n_rows_before:,} to {difference.n_rows_after:,} ({grown:+,})")
    files = table("file", "change", ">rows before", ">rows after")
    for file in found.files:
        path = f"{file.path_before} -> {file.path}" if file.path_before else file.path
        files.add_row(escape(path), file.change, *(_rows(n) for n in (file.n_rows_before, file.n_rows_after)))
    for made in (files, _columns(difference)):
        if made.row_count:
            screen.print(made)
    if difference.association_changed:
        screen.print("every column holds the same values as before: values moved between rows")


def _columns(difference: ManifestDiff) -> Table:
    columns = table("column", "change")
    changes = (
        *((name, "added") for name in difference.columns_added),
        *((name, "removed") for name in difference.columns_removed),
        *((change.column, f"{change.before} -> {change.after}") for change in difference.type_changes),
        *((name, "other values") for name in difference.columns_changed),
    )
    for name, change in changes:
        columns.add_row(escape(name), change)
    return columns


def _short(view: VersionView) -> dict[str, Any]:
    manifest = view.manifest
    return {
        "data_version": manifest.data_version,
        "digest": manifest.digest,
        "name": manifest.name,
        "n_rows": manifest.n_rows,
        "n_columns": len(manifest.columns),
        "n_bytes": view.n_bytes,
        "time_range": list(view.time_range),
        "files": plain(manifest.files),
        "missing": list(view.missing),
        "unchecked": view.unchecked,
        "manifest": manifest.key,
    }


def _state(view: VersionView) -> str:
    if view.unchecked is not None:
        return f"cannot be checked: {escape(view.unchecked)}"
    return f"{len(view.missing)} files MISSING" if view.missing else ""


def _kept_where(manifest: DatasetManifest) -> str:
    n_versions = sum(file.uri is not None for file in manifest.files)
    if not n_versions:
        return "every file is in the store"
    return f"every file is there, {n_versions:,} of {len(manifest.files):,} as versions of objects on S3"


def _rows(n_rows: int | None) -> str:
    return "" if n_rows is None else f"{n_rows:,}"
