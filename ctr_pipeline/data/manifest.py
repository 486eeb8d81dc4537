"""A data version's manifest: what its rows say, and which files said it.

Two manifests of one data version differ where the same rows lie in other files. The JSON is canonical, holds no time
and carries `format`, so that equal data gives equal bytes. It names a place only where the pinned copy of a file is a
version of an object on S3: then the manifest alone can bring it back.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Self

from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.version import ColumnDigest, LogicalDigest
from tracking.canonical import canonical_json, sha256_hex
from tracking.errors import InputError

MANIFEST_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """One file of a data version.

    Attributes:
        path: relative to the source's folder, with forward slashes.
        size: bytes.
        sha256: of its bytes, 64 hex digits.
        n_rows: rows in it.
        content: the first 32 hex digits of its rows' logical digest; equal for re-compressed files.
        s3_version_id: of the object's version on S3 that is the pinned copy; None where the store has a copy.
        uri: `s3://bucket/key` of that object; None as above.
    """

    path: str
    size: int
    sha256: str
    n_rows: int
    content: str
    s3_version_id: str | None = None
    uri: str | None = None

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if not self.path or path.is_absolute() or ".." in path.parts:
            raise InputError(
                f"manifest file path == {self.path!r}, must stay inside its folder; do not use this manifest"
            )


@dataclass(frozen=True, slots=True)
class TimeRange:
    """First and last time of the time column, microseconds since 1970 UTC, both included."""

    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """One data version, as pinned.

    Attributes:
        name: what the data set is called.
        digest: the logical digest, 64 hex digits.
        n_rows: number of rows.
        columns: name, canonical type and digest, sorted by name.
        files: sorted by path.
        data_format: how the files are read.
        time_range: of the time column, where it has a time type.
    """

    name: str
    digest: str
    n_rows: int
    columns: tuple[ColumnDigest, ...]
    files: tuple[PinnedFile, ...]
    data_format: DataFormat
    time_range: TimeRange | None = None

    @property
    def data_version(self) -> str:
        """The logical digest's first 32 hex digits."""
        return LogicalDigest(self.n_rows, self.columns, self.digest).data_version

    @property
    def sha256(self) -> str:
        """Of the manifest's canonical JSON, 64 hex digits."""
        return sha256_hex(self.to_json())

    @property
    def key(self) -> str:
        """Where the manifest lies in a store of objects."""
        return f"manifests/{self.data_version}-{self.sha256[:16]}.json"

    def to_json(self) -> bytes:
        """Return the canonical JSON."""
        fields = asdict(self) | {"files": [_file_record(file) for file in self.files]}
        return canonical_json({"format": MANIFEST_FORMAT, "data_version": self.data_version, **fields})

    @classmethod
    def from_json(cls, content: bytes, *, origin: str) -> Self:
        """Read a manifest of any format so far.

        Args:
            content: what `to_json` gave.
            origin: where it comes from, for errors.

        Raises:
            InputError: it is broken, or of a format that a newer version of the product writes.
        """
        try:
            fields = json.loads(content)
            if fields["format"] != MANIFEST_FORMAT:
                raise InputError(
                    f"manifest {origin!r} has format {fields['format']!r}, must be at most {MANIFEST_FORMAT}; use a "
                    "newer ctr-pipeline"
                )
            manifest = _manifest(cls, fields)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"manifest {origin!r} cannot be read ({type(error).__name__}: {error}); restore it, or pin the data "
                "again"
            ) from error
        if manifest.data_version != fields["data_version"]:
            raise InputError(
                f"manifest {origin!r} has data_version {fields['data_version']}, must be {manifest.data_version} by "
                "its digest; "
                "restore it, or pin the data again"
            )
        return manifest


def read_manifest(path: Path) -> DatasetManifest:
    """Read a manifest's file.

    Raises:
        InputError: it is not there, broken, or of a newer format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"manifest {str(path)!r} cannot be read: {error.strerror}; pin the data again") from error
    return DatasetManifest.from_json(content, origin=str(path))


def _file_record(file: PinnedFile) -> dict[str, Any]:
    # A key that came later is written where it says something: manifests of before keep their bytes.
    return {name: value for name, value in asdict(file).items() if name != "uri" or value is not None}


def _manifest[M: DatasetManifest](make: Callable[..., M], fields: Mapping[str, Any]) -> M:
    data_format = fields["data_format"]
    time_range = fields["time_range"]
    return make(
        name=fields["name"],
        digest=fields["digest"],
        n_rows=fields["n_rows"],
        columns=tuple(ColumnDigest(**column) for column in fields["columns"]),
        files=tuple(PinnedFile(**file) for file in fields["files"]),
        data_format=DataFormat(**{**data_format, "column_names": tuple(data_format["column_names"])}),
        time_range=TimeRange(**time_range) if time_range else None,
    )
