"""`reuse.json` of an execution: each step's key, whether an earlier output was used, and what was different.

It outlives the outputs, so that a later run can say what changed since even where they were removed.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ctr_pipeline.reuse.key import LIBRARIES, LOCK, Change, StepKey, changes
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, Home, StepState
from tracking.aside import replace_whole
from tracking.errors import InputError
from tracking.recipe import Recipe
from tracking.records import RunStatus

REUSE_FORMAT: Final = 1
REUSE_FILE: Final = "reuse.json"
# So many executions back an output is looked for; an older one is computed again.
_SEARCHED: Final = 500

type Verdict = Literal["hit", "miss", "off"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made an output.

    Attributes:
        execution_id: of the run that computed it, not of one that reused it.
        run_id: the tracker's id of that step's run; None where it is not known, or in another tracker.
        made_ms: when the step ended, milliseconds since 1970 UTC.
    """

    execution_id: str
    run_id: str | None
    made_ms: int


@dataclass(frozen=True, slots=True)
class StepReuse:
    """What was decided about a step of a run.

    Attributes:
        key: what its output follows from.
        verdict: "hit": an earlier output was used; "miss": there was none; "off": none was looked for.
        origin: who made the output, of a hit.
        nearest: the execution with the most similar step, of a miss.
        changes: what is different from that one.
        warnings: kept outputs that were passed over, and why.
        record_sha256: of the `step.json`, once the step is finished.
        changed_meanwhile: files of the code that changed while the step ran; its output is then used by nobody else.
    """

    key: StepKey
    verdict: Verdict
    origin: Origin | None = None
    nearest: str | None = None
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    record_sha256: str | None = None
    changed_meanwhile: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptStep:
    """A finished step of an earlier execution; its output may have been removed since."""

    folder: ExecutionFolder
    execution: Execution
    state: StepState
    reuse: StepReuse

    @property
    def output(self) -> Path:
        """Folder of its output."""
        return self.folder.step(self.state.name)

    def origin(self, tracking_uri: str) -> Origin:
        """Return who made the output, as a run that logs to the given tracker may tell it."""
        if self.reuse.origin is not None:
            return self.reuse.origin
        run_id = self.folder.load_logged().step_run_ids.get(self.state.key)
        known = run_id if self.execution.tracking_uri == tracking_uri else None
        return Origin(self.execution.execution_id, known, self.state.ended_ms or self.state.started_ms)


@dataclass(frozen=True, slots=True)
class EarlierSteps:
    """What earlier executions of a home left, newest first."""

    steps: tuple[KeptStep, ...] = field(default=())

    @classmethod
    def of(cls, home: Home, *, but: str | None = None) -> "EarlierSteps":
        """Look through a home's newest executions; one that is broken, or goes meanwhile, is passed over.

        Args:
            home: where executions are kept.
            but: an execution that does not count.
        """
        newest = reversed([folder for folder in home.executions() if folder.path.name != but])
        found = (step for folder in itertools.islice(newest, _SEARCHED) for step in _finished(folder))
        return cls(tuple(found))

    def with_key(self, key: StepKey) -> Iterator[KeptStep]:
        """Yield those of a key, newest first."""
        digest = key.digest
        for step in self.steps:
            reuse = step.reuse
            if reuse.key.digest == digest and reuse.record_sha256 is not None and not reuse.changed_meanwhile:
                yield step

    def nearest(self, key: StepKey, *, but: str | None = None) -> tuple[KeptStep | None, tuple[Change, ...]]:
        """Return the step with the fewest differences from a key, the newest of several, and the differences.

        Args:
            key: to compare with.
            but: a part that does not count, as it is not known.
        """
        wanted = key if but is None else key.without(but)
        same = (step for step in self.steps if step.state.name == key.step)
        compared = [
            (step, changes(step.reuse.key if but is None else step.reuse.key.without(but), wanted)) for step in same
        ]
        return min(compared, key=lambda pair: len(pair[1]), default=(None, ()))


def with_packages(
    changed: tuple[Change, ...], kept: KeptStep | None, packages: Mapping[str, str]
) -> tuple[Change, ...]:
    """Return changes, those of single packages added where the libraries differ as a whole.

    Args:
        changed: what is different.
        kept: from this step; its run's recipe lists its packages.
        packages: version by name of what is installed now.
    """
    if kept is None or not any(change.part == LIBRARIES and change.name == LOCK for change in changed):
        return changed
    try:
        before = Recipe.from_json(kept.folder.recipe.read_bytes()).circumstances.packages
    except (OSError, InputError):  # the lock alone is named then
        return changed
    named = {change.name for change in changed if change.part == LIBRARIES}
    names = sorted(name for name in before.keys() | packages.keys() if before.get(name) != packages.get(name))
    return (*changed, *(Change(LIBRARIES, n, before.get(n), packages.get(n)) for n in names if n not in named))


def read_reuse(folder: ExecutionFolder) -> dict[str, StepReuse]:
    """Return by step what was decided in an execution; nothing where none was asked for or an older version ran it.

    Raises:
        InputError: the record is broken, or of a newer format.
    """
    path = folder.path / REUSE_FILE
    try:
        values = json.loads(path.read_bytes())
        if values["format"] != REUSE_FORMAT:
            raise InputError(f"{path}: format == {values['format']}, must be {REUSE_FORMAT}; update ctr-pipeline")
        return {name: _step(step) for name, step in values["steps"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}); delete it") from error


def write_reuse(folder: ExecutionFolder, steps: Mapping[str, StepReuse]) -> None:
    """Write what was decided, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    values = {name: asdict(step) for name, step in steps.items()}
    content = json.dumps({"format": REUSE_FORMAT, "steps": values}, indent=1, sort_keys=True)
    replace_whole(folder.path / REUSE_FILE, content.encode())


def _finished(folder: ExecutionFolder) -> Iterator[KeptStep]:
    try:
        reuse = read_reuse(folder)
        execution = folder.load() if reuse else None
    except (InputError, OSError, ValueError, LookupError, TypeError):  # broken, newer, or deleted meanwhile
        return
    if execution is not None:
        states = {state.name: state for state in execution.steps if state.status is RunStatus.FINISHED}
        for name in states.keys() & reuse.keys():
            yield KeptStep(folder, execution, states[name], reuse[name])


def _step(values: Mapping[str, Any]) -> StepReuse:
    origin = values["origin"]
    return StepReuse(
        key=StepKey(values["key"]["step"], values["key"]["parts"]),
        verdict=values["verdict"],
        origin=Origin(**origin) if origin else None,
        nearest=values["nearest"],
        changes=tuple(Change(**change) for change in values["changes"]),
        warnings=tuple(values["warnings"]),
        record_sha256=values["record_sha256"],
        changed_meanwhile=tuple(values["changed_meanwhile"]),
    )
