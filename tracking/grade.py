"""How sure a run can be redone: a letter, and each missing ingredient by name. The rules are in `docs/recipe.md`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

_SHOWN = 3


class Letter(StrEnum):
    """From A, everything pinned, committed and locked, to D, something essential was never kept."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


@dataclass(frozen=True, slots=True)
class Grade:
    """A letter and, in words, what keeps it from an A."""

    letter: Letter
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a run's ingredients.

    Attributes:
        snapshot_kept: Whether the source snapshot is stored with the run.
        installed: Whether the code is an installed package, without a source tree.
        git_note: Why git does not know the source tree; empty where it does.
        commit: The commit; None before the first one.
        uncommitted: Paths that differ from the commit, untracked source files among them.
        left_out: Files that the snapshot records by name and digest.
        unknown: Files, in words, of which not even a digest is known.
        locked: Whether a lock file was found.
        drift: Installed packages that disagree with the lock file.
        data_pinned: Whether the input data are kept as they were (a copy, or an object version).
        data_note: What to say where they are not.
    """

    snapshot_kept: bool
    installed: bool
    git_note: str
    commit: str | None
    uncommitted: tuple[str, ...]
    left_out: tuple[str, ...]
    unknown: tuple[str, ...]
    locked: bool
    drift: tuple[str, ...]
    data_pinned: bool
    data_note: str = ""


def grade(evidence: Evidence) -> Grade:
    """The grade that the evidence allows: the worst that any missing ingredient stands for."""
    problems = tuple(_problems(evidence))
    letter = max((letter for letter, _ in problems), default=Letter.A)
    return Grade(letter, tuple(text for _, text in sorted(problems, key=lambda problem: problem[0], reverse=True)))


def _problems(evidence: Evidence) -> Iterator[tuple[Letter, str]]:
    yield from _code_problems(evidence)
    if evidence.left_out:
        yield Letter.B, f"files known by name and digest only: {_some(evidence.left_out)}"
    if evidence.unknown:
        yield Letter.C, f"files known by name only: {_some(evidence.unknown)}"
    if not evidence.locked:
        yield Letter.C, "libraries not locked: no uv.lock at or above the source tree"
    if evidence.drift:
        yield Letter.C, f"libraries other than the locked ones: {_some(evidence.drift)}"
    if not evidence.data_pinned:
        yield Letter.C, f"data not pinned: {evidence.data_note or 'only their digest is known'}"


def _code_problems(evidence: Evidence) -> Iterator[tuple[Letter, str]]:
    if not evidence.snapshot_kept:
        yield Letter.D, "source snapshot not kept"
    if evidence.installed:
        yield Letter.B, "no commit: the code was installed as a package"
    elif evidence.git_note:
        yield Letter.D, f"no commit: {evidence.git_note}"
    elif evidence.commit is None:
        yield Letter.B, "no commit: the repository has none yet"
    elif evidence.uncommitted:
        yield Letter.B, f"not committed: {_some(evidence.uncommitted)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
