"""Files of runs and logged models, wherever MLflow keeps them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Final

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

_UPLOADS_AT_ONCE: Final = 8


class Artifacts:
    """The files below one artifact URI.

    Args:
        uri: artifact location of a run or a logged model.
        tracking_uri: for locations that only the tracking server can reach.
    """

    def __init__(self, uri: str, tracking_uri: str) -> None:
        self._repository: ArtifactRepository = get_artifact_repository(uri, tracking_uri=tracking_uri)

    def files(self, path: str) -> tuple[str, ...]:
        """List files, sorted.

        Args:
            path: a file or folder; "" is the root. One that does not exist has no files.
        """
        found = tuple(sorted(self._walk(path)))
        return found or tuple(self._itself(path))

    def download(self, path: str, into: Path) -> Path:
        """Copy a file or folder that exists.

        Args:
            path: from the root.
            into: existing folder.
        """
        return Path(self._repository.download_artifacts(path, str(into)))  # type: ignore[no-untyped-call] # MLflow leaves it untyped

    def upload(self, folder: Path, path: str = "") -> None:
        """Copy a folder's content here, several files at a time: over HTTP each is a request.

        Args:
            folder: local folder.
            path: folder that receives the content; "" is the root.
        """

        def send(file: Path) -> None:
            target = str(PurePosixPath(path) / file.parent.relative_to(folder).as_posix())
            self._repository.log_artifact(str(file), None if target == "." else target)  # type: ignore[no-untyped-call] # MLflow leaves it untyped

        with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
            list(pool.map(send, sorted(file for file in folder.rglob("*") if file.is_file())))

    def _walk(self, folder: str) -> Iterator[str]:
        for entry in self._repository.list_artifacts(folder or None):
            if entry.is_dir:
                yield from self._walk(entry.path)
            else:
                yield entry.path

    def _itself(self, path: str) -> Iterator[str]:
        parent = str(PurePosixPath(path).parent)
        for entry in self._repository.list_artifacts(None if parent == "." else parent):
            if entry.path == path and not entry.is_dir:
                yield path
