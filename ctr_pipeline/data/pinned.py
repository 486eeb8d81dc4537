"""Whether a data version could be read again, byte for byte: every file looked up and its content verified."""

import hashlib
from dataclasses import dataclass
from typing import Final

from ctr_pipeline.data.data_store import DataStore, VersionGoneError, find_version
from ctr_pipeline.data.manifest import DatasetManifest, PinnedFile
from tracking.errors import ProblemError
from tracking.objects import ObjectMissingError
from tracking.parallel import in_parallel
from tracking.s3_reading import open_object

_PIN_AGAIN: Final = "pin the same data again with `ctr-pipeline data pin`, or give a store that holds them"


@dataclass(frozen=True, slots=True)
class PinnedProblem:
    """A pinned file that cannot be read again as it was.

    Attributes:
        path: the file's path in the data version.
        problem: what is wrong with it.
        remedy: what to do.
    """

    path: str
    problem: str
    remedy: str


def verify_pinned(manifest: DatasetManifest, store: DataStore) -> tuple[PinnedProblem, ...]:
    """Look every file of a data version up and verify its content; no row is read and nothing is written.

    S3's word is taken for a content whose sha256 it verified when it was stored; everything else is read and hashed.

    Args:
        manifest: whose files.
        store: where they were pinned.

    Returns:
        What is wrong, in the files' order; nothing where every file can be had as it was.
    """
    found = in_parallel(lambda file: _problem(file, store), manifest.files)
    return tuple(problem for problem in found if problem is not None)


def _problem(file: PinnedFile, store: DataStore) -> PinnedProblem | None:
    try:
        found = None if file.uri is None else _of_version(file, store)
        # Where the version cannot serve, a copy in the store does.
        return _of_copy(file, store) if file.uri is None or (found and store.keeps(file)) else found
    except ProblemError as error:
        return PinnedProblem(file.path, str(error), "see the message")


def _of_version(file: PinnedFile, store: DataStore) -> PinnedProblem | None:
    try:
        found = find_version(file)
        if found is None:
            problem, _, remedy = str(VersionGoneError(file, store.objects.uri)).partition("; ")
            return PinnedProblem(file.path, problem, remedy)
        sha256 = found.sha256
        if sha256 is None:
            with open_object(found) as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    except ProblemError as error:
        return PinnedProblem(file.path, str(error), "see the message")
    if sha256 == file.sha256:
        return None
    return PinnedProblem(file.path, f"object {found} has the sha256 {sha256}, must be {file.sha256}", _PIN_AGAIN)


def _of_copy(file: PinnedFile, store: DataStore) -> PinnedProblem | None:
    try:
        if store.files.is_vouched(file.sha256) or store.files.is_intact(file.sha256):
            return None
    except ObjectMissingError:
        problem = f"the store {store.objects.uri} lacks it (sha256 {file.sha256})"
        return PinnedProblem(file.path, problem, _PIN_AGAIN)
    problem = f"object {file.sha256} in {store.objects.uri} is damaged: its content is not what its digest says"
    return PinnedProblem(file.path, problem, f"remove it, then {_PIN_AGAIN}")
