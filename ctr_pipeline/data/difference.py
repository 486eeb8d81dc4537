"""What differs between two data versions: files, columns, rows."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from ctr_pipeline.data.manifest import DatasetManifest, PinnedFile
from ctr_pipeline.data.version import ColumnDigest


@dataclass(frozen=True, slots=True)
class TypeChange:
    """A column whose canonical type changed."""

    column: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ManifestDiff:
    """What differs from one manifest to another; a path of a file that changed is the later one's.

    Attributes:
        n_rows_before: rows in the first.
        n_rows_after: rows in the second.
        same_rows: the logical digests are equal: the same rows, whatever files they lie in.
        files_added: paths.
        files_removed: paths.
        files_renamed: path before, path after; same bytes.
        files_changed: other rows.
        files_rewritten: other bytes, same rows (re-compressed, re-ordered).
        columns_added: names.
        columns_removed: names.
        type_changes: columns with another canonical type.
        columns_changed: columns of the same type whose values, as a bag, differ.
        association_changed: every column holds the same bag of values, yet the rows differ: values moved between rows.
    """

    n_rows_before: int
    n_rows_after: int
    same_rows: bool
    files_added: tuple[str, ...]
    files_removed: tuple[str, ...]
    files_renamed: tuple[tuple[str, str], ...]
    files_changed: tuple[str, ...]
    files_rewritten: tuple[str, ...]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    type_changes: tuple[TypeChange, ...]
    columns_changed: tuple[str, ...]
    association_changed: bool


def diff(before: DatasetManifest, after: DatasetManifest) -> ManifestDiff:
    """Compare two manifests; no row is read.

    Args:
        before: the first, usually older.
        after: the second.
    """
    files = _FileDiff.of(before.files, after.files)
    old, new = _by_name(before.columns), _by_name(after.columns)
    common = [name for name in old if name in new]
    retyped = [TypeChange(name, old[name].type, new[name].type) for name in common if old[name].type != new[name].type]
    changed = [name for name in common if old[name].type == new[name].type and old[name].digest != new[name].digest]
    same_columns = before.columns == after.columns and before.n_rows == after.n_rows
    return ManifestDiff(
        n_rows_before=before.n_rows,
        n_rows_after=after.n_rows,
        same_rows=before.digest == after.digest,
        files_added=files.added,
        files_removed=files.removed,
        files_renamed=files.renamed,
        files_changed=files.changed,
        files_rewritten=files.rewritten,
        columns_added=tuple(name for name in new if name not in old),
        columns_removed=tuple(name for name in old if name not in new),
        type_changes=tuple(retyped),
        columns_changed=tuple(changed),
        association_changed=same_columns and before.digest != after.digest,
    )


@dataclass(frozen=True, slots=True)
class _FileDiff:
    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    changed: tuple[str, ...]
    rewritten: tuple[str, ...]

    @classmethod
    def of(cls, before: tuple[PinnedFile, ...], after: tuple[PinnedFile, ...]) -> "_FileDiff":
        old, new = _by_stem(before), _by_stem(after)
        pairs = [(old[stem], new[stem]) for stem in old if stem in new and old[stem].sha256 != new[stem].sha256]
        gone = [old[stem] for stem in old if stem not in new]
        come = [new[stem] for stem in new if stem not in old]
        renamed = _same_bytes(gone, come)
        return cls(
            added=tuple(sorted({file.path for file in come} - {path for _, path in renamed})),
            removed=tuple(sorted({file.path for file in gone} - {path for path, _ in renamed})),
            renamed=renamed,
            changed=tuple(b.path for a, b in pairs if a.content != b.content),
            rewritten=tuple(b.path for a, b in pairs if a.content == b.content),
        )


def _same_bytes(gone: list[PinnedFile], come: list[PinnedFile]) -> tuple[tuple[str, str], ...]:
    """Pair files off by sha256, each used once."""
    left = sorted(come, key=lambda file: file.path)
    pairs = []
    for file in sorted(gone, key=lambda file: file.path):
        twin = next((other for other in left if other.sha256 == file.sha256), None)
        if twin is not None:
            left.remove(twin)
            pairs.append((file.path, twin.path))
    return tuple(pairs)


def _by_stem(files: tuple[PinnedFile, ...]) -> dict[str, PinnedFile]:
    """Return files by path without the compression's extension, so that `a.csv` and `a.csv.gz` are one."""
    found: dict[str, PinnedFile] = {}
    for file in files:
        path = PurePosixPath(file.path)
        stem = str(path.with_suffix("")) if path.suffix.lower() in {".gz", ".zst"} else file.path
        found[file.path if stem in found else stem] = file
    return found


def _by_name(columns: tuple[ColumnDigest, ...]) -> dict[str, ColumnDigest]:
    return {column.name: column for column in columns}
