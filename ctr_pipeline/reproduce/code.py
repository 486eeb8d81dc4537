"""The code of a reproduction: the run's own from its snapshot, verified file by file, or the project's as it is now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctr_pipeline.reproduce.original import SOURCE, Original
from ctr_pipeline.workflows.provenance import NOT_CODE, PACKAGES, own_modules
from tracking.archive import PARTS, DamagedSnapshotError, restore_snapshot
from tracking.code import CodeFile, SourceTree, code_digest, code_files
from tracking.errors import InputError
from tracking.named_code import named_files


@dataclass(frozen=True, slots=True)
class StepCode:
    """Code that steps can be run with.

    Attributes:
        roots: folders to put before Python's path, the first one first.
        files: what steps can import from them.
        archive: the snapshot that it was restored from; None for the project's own.
    """

    roots: tuple[Path, ...]
    files: tuple[CodeFile, ...]
    archive: Path | None

    @property
    def digest(self) -> str:
        """Over the files' module paths and contents."""
        return code_digest(self.files)

    @property
    def packages(self) -> tuple[Path, ...]:
        """Folders of our own packages within it, which a logged model carries."""
        found = {file.module_path.partition("/")[0]: file.path for file in self.files if "/" in file.module_path}
        return tuple(_package(found[name], name) for name in PACKAGES if name in found)


def restore_code(original: Original, settings: Mapping[str, Any], into: Path) -> StepCode | None:
    """Restore a run's source snapshot from the first copy that is whole; None where there is none.

    Args:
        original: the run.
        settings: its settings, which may name a team's own functions.
        into: folder to be made.
    """
    wanted = original.recipe.circumstances.snapshot_digest if original.recipe else None
    for place, archive in enumerate(original.documents.copies(SOURCE)):
        try:
            restored = restore_snapshot(archive, into / f"copy-{place}", digest=wanted)
        except DamagedSnapshotError:
            continue
        tree = restored.root / PARTS[0]
        files = _files(restored.import_roots, tree if tree.is_dir() else None, settings)
        return StepCode(restored.import_roots, files, archive)
    return None


def current_code(tree: SourceTree, start: Path, settings: Mapping[str, Any]) -> StepCode:
    """Return the code as it lies in the project now; nothing is copied.

    Args:
        tree: the source tree around `start`.
        start: folder of the project.
        settings: which may name a team's own functions.
    """
    own = [] if tree.root is None else [start.resolve(), tree.root.resolve()]
    ours = (_package(file.path, name) for name in PACKAGES for file in code_files([name])[:1])
    roots = tuple(dict.fromkeys((*own, *(package.parent for package in ours))))
    return StepCode(roots, _files(roots, tree.root, settings), None)


def _files(roots: Sequence[Path], project: Path | None, settings: Mapping[str, Any]) -> tuple[CodeFile, ...]:
    path = [str(root) for root in roots]
    modules = own_modules(settings)
    named = named_files(modules, project, path)
    return code_files(PACKAGES, project=project if modules else None, named=named, leave_out=NOT_CODE, path=path)


def _package(file: Path, name: str) -> Path:
    """Return the folder of a package around one of its files."""
    for folder in file.parents:
        if folder.name == name:
            return folder
    raise InputError(f"package {name} has no folder of its name around {file}; restore the source again")
