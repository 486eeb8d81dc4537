"""What surrounds a step's reuse: the code as it is now, ours and a team's own; libraries and machine."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ctr_pipeline.config import Settings
from ctr_pipeline.reuse.imports import Sources
from ctr_pipeline.reuse.key import CODE, OWN_CODE, StepKey, Surroundings
from ctr_pipeline.workflows.provenance import NOT_CODE, PACKAGES, own_modules
from tracking.code import CodeFile, code_files
from tracking.errors import InputError
from tracking.imported_code import imported_names
from tracking.named_code import named_files


def read_sources() -> Sources:
    """Read our own packages' files, as they are now: before a step's process imports them."""
    return Sources.read(PACKAGES, NOT_CODE)


@cache
def loaded_sources() -> Sources:
    """Return our packages' files as this process's engine imported them: it does so once, however often it runs."""
    return read_sources()


def own_code(settings: Settings, root: Path | None, start: Path | None = None) -> tuple[CodeFile, ...]:
    """Return a team's own files, as a run's code digest counts them; none where the settings name no function.

    Args:
        settings: of the run.
        root: of its source tree.
        start: folder in it from which steps import first.
    """
    modules = own_modules(settings.resolved())
    if not modules:
        return ()
    ours = tuple(f"{package}/" for package in PACKAGES)
    named = named_files(modules, root, start=start, leave_out=PACKAGES)
    files = code_files(PACKAGES, project=root, named=named, leave_out=NOT_CODE)
    return tuple(file for file in files if not file.module_path.startswith(ours))


def surroundings(
    sources: Sources,
    own: tuple[CodeFile, ...],
    *,
    packages: Mapping[str, str],
    lock_digest: str,
    python_version: str,
    gpus: tuple[str, ...],
) -> Surroundings:
    """Return what keys hold beside input and settings.

    Args:
        sources: our own packages' files.
        own: a team's own files.
        packages: version by name of what is installed.
        lock_digest: what the libraries are.
        python_version: such as "3.12.1".
        gpus: the GPUs' models.
    """
    imports = sorted({name for file in own for name in _our_imports(file, sources)})
    code = {file.module_path: file.sha256 for file in own}
    return Surroundings(sources, code, tuple(imports), packages, lock_digest, python_version, gpus)


def changed_since(
    key: StepKey, around: Surroundings, settings: Settings, root: Path | None, start: Path | None = None
) -> tuple[str, ...]:
    """Return those files of a step's code that are not as they were.

    Args:
        key: of the step.
        around: what was read before it ran.
        settings: of the run.
        root: of its source tree.
        start: folder in it from which steps import first.
    """
    now = read_sources().files
    ours = {path for path in key.parts[CODE] if now.get(path) != around.sources.files[path]}
    if not key.parts[OWN_CODE]:
        return tuple(sorted(ours))
    own = {file.module_path: file.sha256 for file in own_code(settings, root, start)}
    theirs = {path for path in own.keys() | around.own_code.keys() if own.get(path) != around.own_code.get(path)}
    return tuple(sorted(ours | theirs))


def _our_imports(file: CodeFile, sources: Sources) -> set[str]:
    """Return our modules that a team's file imports; one that Python cannot parse imports nothing."""
    if not file.module_path.endswith(".py"):
        return set()
    try:
        names = set(imported_names(file.module_path.removeprefix("project:"), file.path.read_bytes()))
    except InputError:
        return set()
    return {name for name in names if sources.has(name)}
