"""What went into two runs and is not the same, in words; and what merely surrounded them."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from ctr_pipeline.data.difference import ManifestDiff, diff
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.reproduce.settings import setting_differences
from ctr_pipeline.reproduce.verdict import Circumstance, ColumnDifference, Difference
from ctr_pipeline.workflows.provenance import MUST_BE_LOCKED
from tracking.code import CodeFile
from tracking.recipe import Circumstances, Identity, Recipe

# What differs between any two runs, or is told of elsewhere.
_ALWAYS: Final = ("argv", "started_utc", "packages", "package_origins", "snapshot_digest")
_SHOWN_PACKAGES: Final = 20
# Of packages that only one of the runs had: they are mostly tools of a machine.
_SHOWN_OF_ONE_SIDE: Final = 8
_NONE: Final = "(none)"
# Names listed of what is there many times.
_MOST_NAMED: Final = 3


def identity_differences(before: Identity, after: Identity) -> Iterator[Difference]:
    """Yield what differs between two identities, but for what `code_differences` and the like say better."""
    if before.python_version != after.python_version:
        yield Difference("environment", f"Python {before.python_version} -> {after.python_version}")
    yield from setting_differences(before.settings, after.settings)
    if before.as_of != after.as_of:
        yield Difference("clock", f"as_of {before.as_of} -> {after.as_of}")


def code_differences(before: Sequence[CodeFile] | None, after: Sequence[CodeFile]) -> Iterator[Difference]:
    """Yield the files that steps can import and that are not the same.

    Args:
        before: the original's; None where its snapshot is gone.
        after: those that ran.
    """
    if before is None:
        yield Difference("code", "the code differs; the original's snapshot is gone, so nobody can say where")
        return
    old, new = ({file.module_path: file for file in files} for files in (before, after))
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield Difference("code", f"{name} removed")
        elif name not in old:
            yield Difference("code", f"{name} added")
        elif old[name].sha256 != new[name].sha256:
            yield Difference("code", f"{name} edited", detail=_patch(name, old[name].path, new[name].path))


def package_differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    """Yield the packages of both environments that have other versions, those that compute first."""
    for name in sorted(before.keys() & after.keys(), key=lambda name: (name not in MUST_BE_LOCKED, name)):
        if before[name] != after[name]:
            yield Difference("environment", f"{name} {before[name]} -> {after[name]}")


def data_differences(
    before: DatasetManifest, after: DatasetManifest
) -> tuple[tuple[Difference, ...], tuple[ColumnDifference, ...]]:
    """Return what differs between two data versions: in words, and column by column."""
    found = diff(before, after)
    columns = tuple(_columns(found, before, after))
    if found.same_rows:
        return (), columns
    words = list(_words_of(columns))
    if found.files_added and not (found.files_removed or found.files_changed):
        words = [f"files added: {', '.join(found.files_added[:_MOST_NAMED])}; the rows of the others are unchanged"]
    if found.n_rows_before != found.n_rows_after:
        words.insert(0, f"{found.n_rows_before:,} -> {found.n_rows_after:,} rows")
    return (Difference("data", "; ".join(words) or "the rows differ"),), columns


def circumstance_differences(before: Recipe, after: Recipe) -> tuple[Circumstance, ...]:
    """Return what surrounded the two runs and is not the same.

    Packages are among it where neither lock file names them: else they are part of the identity. Those that only one
    of the runs had, or that came from another place, are listed in any case, with a bound and the number of the rest.
    """
    old, new = before.circumstances, after.circumstances
    told = [circumstance for name in _names() for circumstance in _of(name, getattr(old, name), getattr(new, name))]
    decide = before.identity.lock_digest != after.identity.lock_digest
    changed = [] if decide else [found.what for found in package_differences(old.packages, new.packages)]
    words = [Circumstance(f"package {text.partition(' ')[0]}", *_versions(text)) for text in changed]
    words += _moved_packages(old, new)
    shown = [*_bounded(words, _SHOWN_PACKAGES), *_bounded(list(_of_one_side(old, new)), _SHOWN_OF_ONE_SIDE)]
    return (*told, *shown)


def _moved_packages(before: Circumstances, after: Circumstances) -> Iterator[Circumstance]:
    """Yield packages of one version from two places; the code of editable ones is compared file by file."""
    if not (before.package_origins and after.package_origins):
        return  # one of the runs did not look
    for name in sorted(before.packages.keys() & after.packages.keys()):
        then, now = before.package_origins.get(name, "an index"), after.package_origins.get(name, "an index")
        is_code = then.startswith("-e ") or now.startswith("-e ")
        if then != now and before.packages[name] == after.packages[name] and not is_code:
            version = before.packages[name]
            yield Circumstance(f"package {name}", f"{version} from {then}", f"{version} from {now}")


def _of_one_side(before: Circumstances, after: Circumstances) -> Iterator[Circumstance]:
    """Yield the packages that only one run had: those that compute first, those that are gone before new ones."""
    names = before.packages.keys() ^ after.packages.keys()
    for name in sorted(names, key=lambda name: (name not in MUST_BE_LOCKED, name in after.packages, name)):
        yield Circumstance(f"package {name}", before.packages.get(name, _NONE), after.packages.get(name, _NONE))


def _bounded(words: Sequence[Circumstance], most: int) -> Iterator[Circumstance]:
    yield from words[:most]
    rest = words[most:]
    if rest:
        then, now = (sum(version != _NONE for version in side) for side in zip(*map(_sides, rest), strict=True))
        yield Circumstance(f"{len(rest)} more packages", f"{then} installed", f"{now} installed")


def _sides(circumstance: Circumstance) -> tuple[str, str]:
    return circumstance.original, circumstance.again


def _names() -> Iterator[str]:
    return (item.name for item in fields(Circumstances) if item.name not in _ALWAYS)


def _of(name: str, before: Any, after: Any) -> Iterator[Circumstance]:  # noqa: ANN401 - values of any field
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                yield Circumstance(f"{name}.{key}", _text(before.get(key)), _text(after.get(key)))
    elif before != after:
        yield Circumstance(name, _text(before), _text(after))


def _text(value: object) -> str:
    if value is None:
        return _NONE
    return value if isinstance(value, str) else json.dumps(list(value) if isinstance(value, tuple) else value)


def _versions(text: str) -> tuple[str, str]:
    before, _, after = text.partition(" ")[2].partition(" -> ")
    return before, after


def _patch(name: str, before: Path, after: Path) -> str:
    try:
        old, new = (path.read_text(encoding="utf-8").splitlines(keepends=True) for path in (before, after))
    except (OSError, UnicodeDecodeError):
        return ""
    return "".join(difflib.unified_diff(old, new, f"original/{name}", f"now/{name}", n=2))


def _columns(found: ManifestDiff, before: DatasetManifest, after: DatasetManifest) -> Iterator[ColumnDifference]:
    old, new = ({column.name: column for column in manifest.columns} for manifest in (before, after))
    for name in found.columns_removed:
        yield ColumnDifference(name, "removed", old[name].type, None)
    for name in found.columns_added:
        yield ColumnDifference(name, "added", None, new[name].type)
    for change in found.type_changes:
        yield ColumnDifference(change.column, "type", change.before, change.after)
    for name in found.columns_changed:
        yield ColumnDifference(name, "values", old[name].digest, new[name].digest)
    if found.association_changed:
        yield ColumnDifference("(all)", "association", before.digest[:32], after.digest[:32])


def _words_of(columns: Sequence[ColumnDifference]) -> Iterator[str]:
    """Yield what differs in words; many columns with other values are counted, not listed."""
    valued = [column.column for column in columns if column.change == "values"]
    if len(valued) > _MOST_NAMED:
        yield f"{len(valued)} columns hold other values, among them {', '.join(valued[:_MOST_NAMED])}"
    for column in columns:
        if column.change != "values" or len(valued) <= _MOST_NAMED:
            yield _column_words(column)


def _column_words(column: ColumnDifference) -> str:
    match column.change:
        case "association":
            return "every column holds the same values, but between other rows"
        case "values":
            return f"column {column.column} holds other values"
        case "type":
            return f"column {column.column} is {column.again} instead of {column.original}"
        case _:
            return f"column {column.column} {column.change}"
