"""From an execution on disk to the tracker: a parent run, a run per step, everything that they emitted.

Each method may be called again after it failed half-way: ids are written down as soon as they are known, and the
tracker takes the same items twice without harm. `sync` is that, for a whole execution.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from ctr_pipeline.config import flatten
from ctr_pipeline.steps.job import ITEMS_FILE, STEP_FILE
from ctr_pipeline.workflows.execution import SETTINGS_FILE, Execution, ExecutionFolder, StepState, noise_name
from tracking.batch import MAX_PARAM_LENGTH
from tracking.canonical import sha256_hex
from tracking.items import read_items
from tracking.records import Artifact, DatasetInput, Item, Metric, ModelArtifact, Param, RunStatus
from tracking.tracker import Tracker

EXECUTION_TAG: Final = "ctr.execution_id"
STEP_TAG: Final = "ctr.step"
FAILURE_TAG: Final = "ctr.failure"
REUSED_FROM_TAG: Final = "ctr.reused_from"
REUSED_RUN_TAG: Final = "ctr.reused_run_id"
NOISE_TAG: Final = "ctr.noise"
NOISE_FAILURE_TAG: Final = "ctr.noise_failure"
VERSIONS: Final = ("data_version", "code_version", "recipe_digest")
_LONGEST_FAILURE: Final = 5_000


class Recorder:
    """Logs one execution."""

    def __init__(self, tracker: Tracker, folder: ExecutionFolder) -> None:
        """Take up an execution where it stands."""
        self._tracker = tracker
        self._folder = folder
        self._logged = folder.load_logged()

    def begin(self, execution: Execution) -> str:
        """Create the parent run, unless it is there, and log what was known before the run; return the run's id."""
        if self._logged.run_id is None:
            run_id = self._tracker.create_run(
                experiment=execution.experiment,
                name=execution.name,
                start_ms=execution.started_ms,
                tags={EXECUTION_TAG: execution.execution_id, **execution.tags},
            )
            self._logged = replace(self._logged, run_id=run_id)
            self._folder.save_logged(self._logged)
        known = [*_versions(execution), *self._known_before()]
        self._log(self.run_id, known, folder=self._folder.path, timestamp_ms=execution.started_ms)
        return self.run_id

    @property
    def run_id(self) -> str:
        """The parent run's id; `begin` comes first."""
        return str(self._logged.run_id)

    def begin_step(self, execution: Execution, state: StepState) -> None:
        """Create the run of one attempt at a step, unless it is there."""
        if state.key in self._logged.step_run_ids:
            return
        run_id = self._tracker.create_run(
            experiment=execution.experiment,
            name=f"{execution.name}/{state.name}",
            start_ms=state.started_ms,
            tags={EXECUTION_TAG: execution.execution_id, **_part_tags(state), **execution.tags},
            parent_run_id=self.run_id,
        )
        versions = _versions(execution)
        self._log(run_id, versions, folder=self._folder.path, timestamp_ms=state.started_ms)
        ids = {**self._logged.step_run_ids, state.key: run_id}
        self._logged = replace(self._logged, step_run_ids=ids)
        self._folder.save_logged(self._logged)

    def end_step(self, execution: Execution, state: StepState) -> None:
        """Log what a step emitted, to its own run and, where it says so, to the parent; then end its run."""
        run_id = self._logged.step_run_ids[state.key]
        ended_ms = int(state.ended_ms or state.started_ms)
        if state.reused_from is not None:
            made_by = {REUSED_FROM_TAG: state.reused_from}
            made_by |= {REUSED_RUN_TAG: state.reused_run_id} if state.reused_run_id is not None else {}
            self._tracker.set_tags(run_id, made_by)
        if state.status is RunStatus.FINISHED and state.noise is not None:
            kept = self._folder.noise(state.noise)
            self._log(run_id, read_items(kept / ITEMS_FILE), folder=kept, timestamp_ms=ended_ms)
        elif state.status is RunStatus.FINISHED:
            self._log_step(execution, state, run_id, ended_ms)
        self._tracker.finish(run_id, state.status, ended_ms)

    def log_recipe(self, name: str, timestamp_ms: int) -> None:
        """Log the recipe with its outputs before the run ends: extra runs follow, which may take long."""
        self._log(self.run_id, [Artifact(name)], folder=self._folder.path, timestamp_ms=timestamp_ms)

    def end(self, execution: Execution) -> None:
        """Log the finished recipe and end the parent run."""
        ended_ms = int(execution.ended_ms or execution.started_ms)
        if execution.failure is not None:
            self._tracker.set_tags(self.run_id, {FAILURE_TAG: execution.failure[:_LONGEST_FAILURE]})
        if execution.noise_failure is not None:
            self._tracker.set_tags(self.run_id, {NOISE_FAILURE_TAG: execution.noise_failure[:_LONGEST_FAILURE]})
        whole = [Artifact(path.name) for path in (self._folder.recipe, self._folder.noise_band) if path.exists()]
        self._log(self.run_id, whole, folder=self._folder.path, timestamp_ms=ended_ms)
        self._tracker.finish(self.run_id, execution.status, ended_ms)
        self._logged = replace(self._logged, complete=True)
        self._folder.save_logged(self._logged)

    def _log(
        self, run_id: str, items: Iterable[Item], *, folder: Path, timestamp_ms: int, model_id: str | None = None
    ) -> str | None:
        """Log what a tracker takes of items, and return the logged model's id."""
        taken = [_shortened(item) for item in items]
        return self._tracker.log(run_id, taken, folder=folder, timestamp_ms=timestamp_ms, model_id=model_id).model_id

    def _log_step(self, execution: Execution, state: StepState, run_id: str, ended_ms: int) -> None:
        output = self._folder.step(state.name)
        items = read_items(output / ITEMS_FILE)
        shared = [item for item in items if item.scope == "run"]
        model_id = self._logged.model_id
        if model_id is None and not any(isinstance(item, ModelArtifact) for item in shared):
            # A model that another run made: its figures are this run's alone.
            shared = [_unlinked(item) for item in shared]
        made = self._log(self.run_id, shared, folder=output, timestamp_ms=ended_ms, model_id=model_id)
        if made != model_id:
            self._logged = replace(self._logged, model_id=made)
            self._folder.save_logged(self._logged)
        own = [*map(_unlinked, items), *self._read_before(execution, state, items), Artifact(STEP_FILE)]
        self._log(run_id, own, folder=output, timestamp_ms=ended_ms, model_id=made)

    def _read_before(self, execution: Execution, state: StepState, items: Iterable[Item]) -> Iterator[DatasetInput]:
        """Yield the data versions that reached a step through earlier ones: every step's run names its data."""
        known = {item.name for item in items if isinstance(item, DatasetInput)}
        for earlier in execution.steps:
            if earlier.status is RunStatus.FINISHED and earlier.name != state.name and earlier.noise is None:
                for item in read_items(self._folder.step(earlier.name) / ITEMS_FILE):
                    if isinstance(item, DatasetInput) and item.name not in known:
                        known.add(item.name)
                        yield item

    def _known_before(self) -> Iterator[Item]:
        settings = json.loads(self._folder.settings.read_bytes())
        for key, value in flatten(settings).items():
            yield Param(key, value)
        yield Artifact(self._folder.settings.name)
        for path in sorted(self._folder.provenance.iterdir()):
            yield Artifact(f"{self._folder.provenance.name}/{path.name}", self._folder.provenance.name)


def part_of(tags: Mapping[str, str]) -> str | None:
    """Return which part of an execution a tracker's run is: a step or an extra run; None for the whole."""
    return noise_name(int(tags[NOISE_TAG])) if NOISE_TAG in tags else tags.get(STEP_TAG)


def _part_tags(state: StepState) -> dict[str, str]:
    """Return what tells a step's run from the parent, and an extra run from a step's."""
    return {STEP_TAG: state.name} if state.noise is None else {NOISE_TAG: str(state.noise)}


def _versions(execution: Execution) -> list[Param]:
    """Return as params what the tags say too: trackers' pages compare params side by side."""
    return [Param(key, execution.tags[key]) for key in VERSIONS if key in execution.tags]


def _shortened(item: Item) -> Item:
    """Return a param whose value no tracker takes, such as a list of 1,000 columns, with the value's digest instead."""
    if not isinstance(item, Param) or len(item.value) <= MAX_PARAM_LENGTH:
        return item
    return replace(item, value=f"sha256:{sha256_hex(item.value.encode())[:16]} (in {SETTINGS_FILE})")


def _unlinked(item: Item) -> Item:
    """Return the item without its link to the model, which the parent run's has: one figure, shown once."""
    return replace(item, of_model=False) if isinstance(item, Metric) else item


def sync(tracker: Tracker, folder: ExecutionFolder) -> str:
    """Send an execution to the tracker, whole; what is there already stays as it is.

    Returns:
        The parent run's id.
    """
    execution = folder.load()
    recorder = Recorder(tracker, folder)
    recorder.begin(execution)
    for state in execution.steps:
        recorder.begin_step(execution, state)
        if state.status is not RunStatus.RUNNING:
            recorder.end_step(execution, state)
    if execution.status is not RunStatus.RUNNING:
        recorder.end(execution)
    return recorder.run_id
