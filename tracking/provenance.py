"""From what was found out about code and machine to a recipe's circumstances and grade."""

from dataclasses import replace

from tracking.environment import Environment
from tracking.grade import Evidence
from tracking.recipe import Circumstances
from tracking.snapshot import SourceSnapshot
from tracking.source_files import WITHHELD

_NOT_COMMITTED = frozenset({"modified", "untracked", "ignored"})


def surroundings(snapshot: SourceSnapshot, environment: Environment, *, started_utc: str) -> Circumstances:
    """The circumstances that code and machine make up; `dataclasses.replace` adds those of the data.

    Args:
        snapshot: The source snapshot.
        environment: The machine and the libraries.
        started_utc: When the run started, UTC in ISO 8601.
    """
    machine = Circumstances(
        snapshot_digest=snapshot.digest,
        argv=environment.argv,
        host=environment.host,
        cpu=environment.cpu,
        n_cores=environment.n_cores,
        gpus=environment.gpus,
        platform=environment.platform,
        timezone=environment.timezone,
        variables=environment.variables,
        packages={package.name: package.version for package in environment.packages},
        lock_path=environment.lock.path.name if environment.lock else None,
        user=environment.user,
        started_utc=started_utc,
    )
    git = snapshot.git
    if git is None:
        return machine
    return replace(
        machine,
        commit=git.commit,
        branch=git.branch,
        remote=git.remote,
        pushed=git.pushed,
        dirty=git.dirty,
        submodules={module.path: module.commit for module in git.submodules},
    )


def evidence_of(
    snapshot: SourceSnapshot,
    environment: Environment,
    *,
    data_pinned: bool,
    data_note: str = "",
    snapshot_kept: bool = True,
) -> Evidence:
    """What the grade is made from.

    Args:
        snapshot: The source snapshot.
        environment: The machine and the libraries.
        data_pinned: Whether the input data are kept as they were.
        data_note: Where they are not, why.
        snapshot_kept: Whether the snapshot is stored with the run.
    """
    git = snapshot.git
    parts = {file.part for file in snapshot.files}
    own = {file.path for file in snapshot.files if file.part == "tree" and file.status in _NOT_COMMITTED}
    named = [file for file in snapshot.left_out if file.sha256 or file.blob or file.reason == WITHHELD]
    unknown = [file for file in snapshot.left_out if file not in named]
    return Evidence(
        snapshot_kept=snapshot_kept,
        installed=git is None and "tree" not in parts,
        git_note=snapshot.note,
        commit=git.commit if git else None,
        uncommitted=tuple(sorted(own.union(git.changed if git else ()))),
        left_out=tuple(file.path for file in named),
        unknown=tuple(f"{file.path} ({file.reason})" for file in unknown),
        locked=environment.lock is not None,
        drift=environment.lock.drift if environment.lock else (),
        data_pinned=data_pinned,
        data_note=data_note,
    )
