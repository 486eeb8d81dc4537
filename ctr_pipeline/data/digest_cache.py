"""Logical digests of files seen before, so that an unchanged input costs one sha256 pass."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from ctr_pipeline.data.listing import SourceFile
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.source import Source
from ctr_pipeline.data.version import DIGEST_FORMAT
from tracking.aside import moved, written_aside
from tracking.canonical import canonical_json, sha256_hex
from tracking.errors import InputError


class DigestCache:
    """A folder of manifests by what their files are; deleting it costs time only.

    Args:
        folder: made when the first digest is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> DatasetManifest | None:
        """Return the manifest kept under the key; None where there is none that can be read."""
        path = self._path(key)
        try:
            return DatasetManifest.from_json(path.read_bytes(), origin=str(path))
        except (FileNotFoundError, InputError):  # broken is as good as absent: it is computed again
            return None

    def put(self, key: str, manifest: DatasetManifest) -> None:
        """Keep a manifest under the key, whole or not at all."""
        path = self._path(key)
        with written_aside(self._folder, lambda temporary: moved(temporary, path)) as aside:
            aside.write(manifest.to_json())

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def cache_key(source: Source, sha256s: Mapping[str, str], time_column: str | None) -> str:
    """Name everything that a manifest's digests follow from: the files' bytes and how they are read, not their names.

    Args:
        source: the files.
        sha256s: by relative path.
        time_column: whose range the manifest holds.
    """
    content = {
        "digest_format": DIGEST_FORMAT,
        "files": _described(source.files, sha256s),
        "header": source.format.header,
        "column_names": source.format.column_names,
        "time_column": time_column,
    }
    return sha256_hex(canonical_json(content))


def _described(files: Sequence[SourceFile], sha256s: Mapping[str, str]) -> list[list[str | None]]:
    return sorted(([sha256s[file.path], *astuple(file.format)] for file in files), key=repr)
