"""The code of a reproduction: the run's own from its snapshot, verified file by file, or the project's as it is now."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctr_pipeline.reproduce.original import SOURCE, Original
from ctr_pipeline.workflows.provenance import NOT_CODE, PACKAGES, own_modules
from tracking.archive import PARTS, DamagedSnapshotError, RestoredSource, restore_snapshot
from tracking.code import CodeFile, SourceTree, code_digest, code_files
from tracking.errors import InputError
from tracking.imported_code import INSTALLED, has_module
from tracking.named_code import named_files, search_on
from tracking.snapshot import import_roots


@dataclass(frozen=True, slots=True)
class StepCode:
    """Code that steps can be run with.

    Attributes:
        roots: folders to put before Python's path, the first one first.
        files: what steps can import from them.
        archive: the snapshot that it was restored from; None for the project's own.
        proves_roots: whether the files imply these roots, in this order, as they did when the snapshot was taken.
    """

    roots: tuple[Path, ...]
    files: tuple[CodeFile, ...]
    archive: Path | None
    proves_roots: bool = True

    @property
    def digest(self) -> str:
        """Over the files' module paths and contents."""
        return code_digest(self.files)

    @property
    def packages(self) -> tuple[Path, ...]:
        """Folders of our own packages within it, which a logged model carries."""
        found = {file.module_path.partition("/")[0]: file.path for file in self.files if "/" in file.module_path}
        return tuple(_package(found[name], name) for name in PACKAGES if name in found)

    def unresolved(self, modules: Sequence[str], libraries: Sequence[Path]) -> tuple[str, ...]:
        """Return those modules that no step would find.

        Args:
            modules: dotted names.
            libraries: folders of installed packages that steps import from, as far as they are known.
        """
        search = search_on(self.roots, [str(folder) for folder in libraries])
        return tuple(name for name in modules if not has_module(name, search))


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
        return _restored(restored, settings, archive)
    return None


def current_code(tree: SourceTree, start: Path, settings: Mapping[str, Any]) -> StepCode:
    """Return the code as it lies in the project now; nothing is copied.

    Args:
        tree: the source tree around `start`.
        start: folder of the project.
        settings: which may name a team's own functions.
    """
    own = [] if tree.root is None else [start.resolve(), tree.root.resolve()]
    ours = [_package(file.path, name).parent for name in PACKAGES for file in code_files([name])[:1]]
    files = _files(tree, settings, None)
    return StepCode(tuple(dict.fromkeys((*own, *_bases(files), *ours))), files, None)


def _restored(restored: RestoredSource, settings: Mapping[str, Any], archive: Path) -> StepCode:
    """Trace the code in a restored snapshot by the rules, and in the folders, by which it was traced for the run."""
    root, roots = restored.root.resolve(), tuple(folder.resolve() for folder in restored.import_roots)
    tree = SourceTree(root / PARTS[0] if root / PARTS[0] in roots else None, is_git=False)
    tree = tree.started_in(roots[0]) if roots else tree
    files = _files(tree, settings, [str(folder) for folder in roots])
    implied = tuple(root / folder for folder in import_roots(tree, files))
    # Where the tree holds our packages too, and equal ones from elsewhere ran, those lie in the other part, behind it.
    behind = (root / PARTS[1],)
    return StepCode(roots, files, archive, proves_roots=roots in {implied, implied + behind})


def _files(tree: SourceTree, settings: Mapping[str, Any], path: Sequence[str] | None) -> tuple[CodeFile, ...]:
    modules = own_modules(settings)
    named = named_files(modules, tree.root, path, start=tree.start, leave_out=PACKAGES)
    return code_files(PACKAGES, project=tree.root if modules else None, named=named, leave_out=NOT_CODE, path=path)


def _bases(files: Sequence[CodeFile]) -> Iterator[Path]:
    """Yield the folders from which a team's own modules are imported, wherever on Python's path; no library's."""
    for file in files:
        base = file.path.parents[file.module_path.count("/")]
        is_named = not file.module_path.startswith("project:") and file.path == base / file.module_path
        if is_named and not INSTALLED.intersection(base.parts):
            yield base


def _package(file: Path, name: str) -> Path:
    """Return the folder of a package around one of its files."""
    for folder in file.parents:
        if folder.name == name:
            return folder
    raise InputError(f"package {name} has no folder of its name around {file}; restore the source again")
