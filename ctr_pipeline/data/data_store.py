"""Where pinned data lie: copies in the content-addressed store, and versions of objects on S3 that need no copy."""

from dataclasses import dataclass
from pathlib import Path

from ctr_pipeline.data.manifest import PinnedFile
from ctr_pipeline.data.s3_fetched import FetchFolder, copy_hashed, copy_object
from tracking.aside import StoreError, moved, written_aside
from tracking.errors import InputError
from tracking.objects import ObjectMissingError, Objects
from tracking.s3_client import S3Uri
from tracking.s3_reading import S3Object, look_up
from tracking.store import Store


class VersionGoneError(InputError):
    """A version of an object on S3 that data were pinned by is there no more, and nobody has a copy."""

    def __init__(self, file: PinnedFile, store_uri: str) -> None:
        super().__init__(
            f"object {file.uri} version {file.s3_version_id} (pinned file {file.path!r}, sha256 {file.sha256}) is "
            f"gone: deleted, or expired by a lifecycle rule, and the store {store_uri} has no copy; give a store that "
            "has one, or put the same file back and pin it again with `ctr-pipeline data pin`"
        )


@dataclass(frozen=True, slots=True)
class DataStore:
    """Pinned files by their sha256 and manifests by data version, in the same objects; or elsewhere, by version.

    Attributes:
        objects: the store.
        fetched: what was fetched from S3 before, which spares fetching it again; None where nothing is kept.
    """

    objects: Objects
    fetched: FetchFolder | None = None

    @property
    def files(self) -> Store:
        """The files by their sha256."""
        return Store(self.objects)

    def keeps(self, file: PinnedFile) -> bool:
        """Return whether the store has a copy, by its digest and size; its content is verified when it is read."""
        try:
            return self.files.size(file.sha256) == file.size
        except ObjectMissingError:
            return False

    def holds(self, file: PinnedFile) -> bool:
        """Return whether a file can be had: as the version on S3 that it was pinned by, or from the store.

        Raises:
            StoreError: the store or S3 cannot be asked.
        """
        try:
            return find_version(file) is not None or self.keeps(file)
        except StoreError:
            if self.keeps(file):
                return True
            raise

    def materialize(self, file: PinnedFile, destination: Path) -> None:
        """Write a pinned file's content to a file, verified while it is copied; whole or not at all.

        Raises:
            InputError: its version on S3 is gone, and the store has no copy.
            StoreError: it is not there, damaged, or cannot be read or written.
        """
        if file.uri is None:
            self.files.materialize(file.sha256, destination)
            return
        try:
            found = find_version(file)
        except StoreError:
            if not self.keeps(file):
                raise
            found = None
        if found is not None:
            self._copy_version(file, found, destination)
        elif self.keeps(file):
            self.files.materialize(file.sha256, destination)
        else:
            raise VersionGoneError(file, self.objects.uri)

    def _copy_version(self, file: PinnedFile, found: S3Object, destination: Path) -> None:
        here = None if self.fetched is None else self.fetched.find(found)
        with written_aside(destination.parent, lambda temporary: moved(temporary, destination)) as target:
            if here is None:
                sha256 = copy_object(found, target)
            else:
                with here.open("rb") as content:
                    sha256 = copy_hashed(content, target)
            require_pinned(file, sha256)


def find_version(file: PinnedFile) -> S3Object | None:
    """Return the version on S3 that a file was pinned by; None where it is gone, or was never pinned so.

    Raises:
        StoreError: S3 cannot be asked.
    """
    if file.uri is None or file.s3_version_id is None:
        return None
    found = look_up(S3Uri.parse(file.uri), file.s3_version_id)
    return found if found is not None and found.size == file.size else None


def require_pinned(file: PinnedFile, sha256: str) -> None:
    """Refuse content that is not the pinned file's.

    Raises:
        StoreError: naming the object and both digests.
    """
    if sha256 != file.sha256:
        raise StoreError(
            f"object {file.uri} version {file.s3_version_id} has the sha256 {sha256}, must be {file.sha256} as pinned: "
            "read it again; restore it from a backup if that fails."
        )
