"""What a run is made of, looked up before it starts: source, environment, data; the recipe that states it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ctr_pipeline.config import Settings
from ctr_pipeline.config_file import LoadedSettings
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.splits import split_of_file, utc_text
from tracking.code import CodeFile, SourceTree, code_digest, code_files, git_state, is_project
from tracking.environment import Environment, capture_environment
from tracking.git import GitState
from tracking.grade import Evidence, Grade, grade
from tracking.named_code import named_files
from tracking.recipe import Circumstances, Identity
from tracking.secrets import SecretFoundError, SecretScanner, redact, redact_url, redact_values, scan_values
from tracking.snapshot import SourceSnapshot, take_snapshot

PACKAGES: Final = ("ctr_pipeline", "tracking")
PATCH_FILE: Final = "uncommitted.patch"
LOCK_FILE: Final = "uv.lock"
SNAPSHOT_RECORD: Final = "snapshot.json"
# Data that no step's result depends on but through the data version.
NOT_CODE: Final = ("ctr_pipeline/data/samples",)
# Stands for the value of a variable that no kept setting shows, such as a password.
WITHHELD_VALUE: Final = "(withheld)"
MUST_BE_LOCKED: Final = ("xgboost", "numpy", "pyarrow")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a run's code and libraries come from.

    Attributes:
        tree: the source tree around the folder that the run was started in.
        snapshot: its files, archived.
        code: the files that steps can import.
        code_digest: over their contents.
        environment: machine and libraries.
    """

    tree: SourceTree
    snapshot: SourceSnapshot
    code: tuple[CodeFile, ...]
    code_digest: str
    environment: Environment

    @property
    def git(self) -> GitState | None:
        """What git knows of the tree."""
        return self.snapshot.git

    @property
    def code_version(self) -> str:
        """The commit, with a mark where the tree differed from it; without git the code digest."""
        if self.git is None or self.git.commit is None:
            return f"code-{self.code_digest[:12]}"
        return self.git.commit + ("-dirty" if self.git.dirty else "")

    @property
    def grade(self) -> Grade:
        """How sure the run can be redone; its data are always pinned."""
        git, lock = self.git, self.environment.lock
        evidence = Evidence(
            snapshot_kept=True,
            installed=self.tree.root is None,
            git_note=self.snapshot.note,
            commit=git.commit if git else None,
            uncommitted=self.snapshot.uncommitted if git else (),
            left_out=self.snapshot.recorded,
            unknown=self.snapshot.unknown,
            locked=lock is not None,
            drift=lock.drift if lock else (),
            data_pinned=True,
        )
        return grade(evidence)


def kept_settings(settings: Settings) -> Settings:
    """Return the settings as they are kept with a run, logged and shipped: without the tracker's credentials.

    Raises:
        SecretFoundError: another value is a secret.
    """
    uri = settings.tracking.uri
    if uri is not None:
        tracking = settings.tracking.model_copy(update={"uri": redact_url(uri)})
        settings = settings.model_copy(update={"tracking": tracking})
    texts = {key: value for key, value in _leaves(settings.resolved()) if isinstance(value, str)}
    findings = scan_values(texts, of="setting")
    if findings:
        raise SecretFoundError(findings)
    return settings


def find_tree(start: Path, settings: Mapping[str, Any]) -> SourceTree:
    """Return the source tree that a run belongs to, the product's own packages included.

    A folder that neither git nor a project file marks is no source tree: it may be a home folder full of other things.
    It becomes one only where the settings name functions that must lie there. Steps look for these in the folder that
    the run is started in first.
    """
    tree = SourceTree.find(start, PACKAGES)
    if own_modules(settings):
        return tree.started_in(start)
    if tree.is_git or is_project(tree.root or start):
        return tree
    return SourceTree.of_package(PACKAGES)


def capture(tree: SourceTree, loaded: LoadedSettings, argv: Sequence[str], into: Path, cache: Path) -> Provenance:
    """Look at code and environment, and write the snapshot, the lock and the patch into a folder.

    Args:
        tree: the source tree.
        loaded: the settings; a custom function or metric makes the tree's own modules part of the code.
        argv: the command's arguments.
        into: folder that receives the files.
        cache: folder of what may be deleted at any time.

    Raises:
        SecretFoundError: a file that would be kept holds a secret.
    """
    into.mkdir(parents=True, exist_ok=True)
    modules = own_modules(loaded.settings.resolved())
    own = tree.root if modules else None
    named = named_files(modules, tree.root, start=tree.start, leave_out=PACKAGES)
    code = code_files(PACKAGES, project=own, named=named, leave_out=NOT_CODE)
    state = git_state(tree)
    scanner = SecretScanner(cache / "secret-scan.json")
    snapshot = take_snapshot(tree, into, state=state, code=code, scanner=scanner)
    environment = capture_environment(tree.root or Path.cwd(), argv=argv, must_be_locked=MUST_BE_LOCKED)
    if state is not None and state.patch:
        (into / PATCH_FILE).write_bytes(state.patch)
    if environment.lock is not None:
        (into / LOCK_FILE).write_bytes(environment.lock.path.read_bytes())
    return Provenance(tree, snapshot, code, code_digest(code), environment)


def identity_of(loaded: LoadedSettings, provenance: Provenance, manifest: DatasetManifest) -> Identity:
    """Return what decides about the results."""
    settings, time_range = loaded.settings, manifest.time_range
    end_of_data = utc_text(time_range.end_us) if time_range is not None else None
    decisive = settings.identity()
    if settings.split.by == "files":
        # The data digest knows no files: here they say which rows are in which split.
        pairs = sorted([split_of_file(file.path, settings.split).name.lower(), file.content] for file in manifest.files)
        decisive["split"] = {**decisive["split"], "files_content": pairs}
    return Identity(
        code_digest=provenance.code_digest,
        data_digest=manifest.digest,
        settings=decisive,
        lock_digest=provenance.environment.lock_digest,
        python_version=provenance.environment.python_version,
        seed=settings.seed,
        as_of=settings.as_of or end_of_data,
    )


def circumstances_of(
    loaded: LoadedSettings, provenance: Provenance, manifest: DatasetManifest, pinned_uri: str, started_utc: str
) -> Circumstances:
    """Return what surrounds the run."""
    environment, time_range = provenance.environment, manifest.time_range
    return Circumstances(
        **code_history(provenance),
        **machine_facts(environment),
        config_variables=_recorded_variables(loaded),
        packages={package.name: package.version for package in environment.packages},
        package_origins={package.name: package.origin for package in environment.packages if package.origin},
        lock_path=_lock_path(provenance),
        data_uri=redact_url(loaded.settings.data.uri),
        file_digests={file.path: file.sha256 for file in manifest.files},
        pinned_uri=pinned_uri,
        s3_versions={file.uri: file.s3_version_id for file in manifest.files if file.uri and file.s3_version_id},
        time_range=(utc_text(time_range.start_us), utc_text(time_range.end_us)) if time_range else (),
        started_utc=started_utc,
    )


def code_history(provenance: Provenance) -> dict[str, Any]:
    """Return where a run's code stood, as fields of `Circumstances`."""
    git = provenance.git
    return {
        "commit": git.commit if git else None,
        "branch": git.branch if git else None,
        "remote": git.remote if git else None,
        "pushed": git.pushed if git else False,
        "dirty": git.dirty if git else False,
        "submodules": {module.path: module.commit for module in git.submodules} if git else {},
        "snapshot_digest": provenance.snapshot.digest,
    }


def machine_facts(environment: Environment) -> dict[str, Any]:
    """Return on what machine, by whom and with which command a run was made, as fields of `Circumstances`."""
    return {
        "argv": redact(environment.argv),
        "host": environment.host,
        "cpu": environment.cpu,
        "n_cores": environment.n_cores,
        "gpus": environment.gpus,
        "platform": environment.platform,
        "timezone": environment.timezone,
        "variables": environment.variables,
        "user": environment.user,
    }


def run_tags(provenance: Provenance, manifest: DatasetManifest, recipe_digest: str) -> dict[str, str]:
    """Return the tags of all of an execution's runs, in the names that trackers' pages know."""
    git = provenance.git
    tags = {
        "data_version": manifest.data_version,
        "code_version": provenance.code_version,
        "code_digest": provenance.code_digest,
        "recipe_digest": recipe_digest,
        "recipe_grade": str(provenance.grade.letter),
        "mlflow.user": provenance.environment.user,
        "mlflow.source.name": "ctr-pipeline",
        "mlflow.source.type": "LOCAL",
        "host": provenance.environment.host,
    }
    if git is not None and git.commit is not None:
        tags |= {"mlflow.source.git.commit": git.commit, "git.dirty": str(git.dirty).lower()}
        tags |= {"mlflow.source.git.branch": git.branch} if git.branch else {}
        tags |= {"mlflow.source.git.repoURL": git.remote} if git.remote else {}
    return tags


def own_modules(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the modules of the functions that settings, as JSON values, name; but our own."""
    custom = settings.get("features", {}).get("custom")
    names = (*settings.get("evaluate", {}).get("metrics", {}).values(), *([custom] if custom is not None else []))
    modules = (name.partition(":")[0] for name in names)
    return tuple(module for module in modules if module.partition(".")[0] not in PACKAGES)


def _recorded_variables(loaded: LoadedSettings) -> dict[str, str]:
    """The variables that the settings were read from; a value only where the kept settings show it anyway."""
    shown = tuple(value for _, value in _leaves(kept_settings(loaded.settings).resolved()))
    variables = redact_values(loaded.environment)
    return {
        name: value if any(_shows(leaf, loaded.environment[name]) for leaf in shown) else WITHHELD_VALUE
        for name, value in variables.items()
    }


def _shows(leaf: object, value: str) -> bool:
    return value in leaf if isinstance(leaf, str) else value == json.dumps(leaf)


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Every value inside nested ones, by its dotted key."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _leaves(item, f"{key}[{place}]")
    else:
        yield key, value


def _lock_path(provenance: Provenance) -> str | None:
    lock, root = provenance.environment.lock, provenance.tree.root
    if lock is None:
        return None
    return lock.path.relative_to(root).as_posix() if root and lock.path.is_relative_to(root) else lock.path.name
