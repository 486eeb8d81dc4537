"""The run that is to be redone: its recipe and documents, from this machine or from the tracker."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ctr_pipeline.reproduce.verdict import RunSide
from ctr_pipeline.steps.job import MANIFEST_FILE, STEP_FILE
from ctr_pipeline.workflows.execution import PROVENANCE_FOLDER, RECIPE_FILE
from ctr_pipeline.workflows.find_run import FoundRun, find_run
from ctr_pipeline.workflows.place import Place
from ctr_pipeline.workflows.provenance import LOCK_FILE, PATCH_FILE
from ctr_pipeline.workflows.recorder import STEP_TAG
from tracking.canonical import canonical_json, sha256_hex
from tracking.errors import InputError, ProblemError
from tracking.recipe import Recipe
from tracking.records import RunStatus
from tracking.snapshot import ARCHIVE_NAME
from tracking.tracker import Tracker

REPRODUCES_TAG: Final = "reproduces"
SOURCE: Final = f"{PROVENANCE_FOLDER}/{ARCHIVE_NAME}"
LOCK: Final = f"{PROVENANCE_FOLDER}/{LOCK_FILE}"
PATCH: Final = f"{PROVENANCE_FOLDER}/{PATCH_FILE}"
MANIFEST: Final = f"{PROVENANCE_FOLDER}/{MANIFEST_FILE}"
PREDICTIONS: Final = "predictions.parquet"
# Where a step leaves on this machine what the parent run has at its root.
_HERE: Final[Mapping[str, str]] = {PREDICTIONS: f"evaluate/{PREDICTIONS}"}


@dataclass(slots=True)
class Documents:
    """Copies of a run's documents: this machine's first, then the tracker's, which is opened at the first need.

    Attributes:
        found: the run.
        place: the home and the tracker.
        scratch: folder that receives what is fetched.
        unreachable: why the tracker could not be asked; empty where it could, or was not.
    """

    found: FoundRun
    place: Place
    scratch: Path
    unreachable: str = ""
    _tracker: Tracker | None = field(default=None, init=False)

    def tracker(self) -> Tracker:
        """Open the tracker that has the run.

        Raises:
            InputError: the home has no database.
            TrackingError: it cannot be reached.
        """
        if self._tracker is None:
            folder = self.found.folder
            self._tracker = self.place.tracker() if folder is None else self.place.tracker_of(folder.load())
        return self._tracker

    def copies(self, artifact: str) -> Iterator[Path]:
        """Yield the copies of a document.

        Args:
            artifact: path among the run's artifacts.
        """
        if self.found.folder is not None:
            here = self.found.folder.path / _HERE.get(artifact, artifact)
            if here.is_file():
                yield here
        if self.found.run_id is not None:
            yield from self._fetched(self.found.run_id, artifact)

    def step_copies(self, step: str, artifact: str) -> Iterator[Path]:
        """Yield the copies of a file or folder of a finished step."""
        if self.found.folder is not None and (here := self.found.folder.step(step) / artifact).exists():
            yield here
        if self.found.run_id is not None:
            for run_id in self._finished(step):
                yield from self._fetched(run_id, artifact)

    def verified(self, artifact: str, is_right: Callable[[Path], bool]) -> Path | None:
        """Return the first copy that is what it must be, None where there is none."""
        return next((path for path in self.copies(artifact) if is_right(path)), None)

    def _finished(self, step: str) -> tuple[str, ...]:
        try:
            children = self.tracker().children(str(self.found.run_id))
        except ProblemError as error:
            self.unreachable = str(error)
            return ()
        return tuple(
            child.run_id
            for child in reversed(children)
            if child.tags.get(STEP_TAG) == step and child.status is RunStatus.FINISHED
        )

    def _fetched(self, run_id: str, artifact: str) -> Iterator[Path]:
        into = self.scratch / run_id
        into.mkdir(parents=True, exist_ok=True)
        try:
            yield self.tracker().download(run_id, artifact, into)
        except InputError:
            return  # the run has no such document
        except ProblemError as error:
            self.unreachable = str(error)


@dataclass(frozen=True, slots=True)
class Original:
    """A run to be redone, as far as it is known.

    Attributes:
        documents: what it kept.
        recipe: what it was made of and what it made; None where no copy of it can be read.
        problem: why there is no recipe.
    """

    documents: Documents
    recipe: Recipe | None
    problem: str = ""

    @property
    def found(self) -> FoundRun:
        """Its ids."""
        return self.documents.found

    @property
    def name(self) -> str:
        """Its id: the tracker's, else our own."""
        return str(self.found.run_id or self.found.execution_id)

    @property
    def side(self) -> RunSide:
        """The run in a judgement."""
        folder, record, recipe = self.found.folder, self.found.record, self.recipe
        execution = folder.load() if folder is not None else None
        name = execution.name if execution else record.name if record else ""
        return RunSide(
            run_id=self.found.run_id,
            execution_id=self.found.execution_id,
            name=name,
            started_utc=recipe.circumstances.started_utc if recipe else None,
            recipe_digest=recipe.digest if recipe else None,
            wall_s=self._wall_s(),
        )

    @property
    def experiment(self) -> str:
        """The group of runs that it belongs to."""
        if self.found.folder is not None:
            return self.found.folder.load().experiment
        return self.found.record.experiment if self.found.record is not None else "ctr-pipeline"

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags."""
        if self.found.folder is not None:
            return self.found.folder.load().tags
        return self.found.record.tags if self.found.record is not None else {}

    def contradiction(self) -> str:
        """Return in words how copies of the recipe contradict each other; empty where they do not."""
        for path in self.documents.copies(RECIPE_FILE):
            try:
                other = Recipe.from_json(path.read_bytes())
            except (InputError, OSError):
                continue  # a damaged copy says nothing
            if self.recipe is not None and _proof(other) != _proof(self.recipe):
                return (
                    f"copies of {RECIPE_FILE} contradict each other: {path} is another recipe, or tells other outputs"
                )
        return ""

    def metrics(self) -> Mapping[str, float]:
        """Return its final metrics, as the recipe's digest proves them; nothing where no copy does."""
        wanted = self.recipe.outputs.layers.get("metrics") if self.recipe else None
        for path in self.documents.step_copies("evaluate", STEP_FILE):
            metrics = _metrics_in(path)
            if sha256_hex(canonical_json(metrics)) == wanted:
                return metrics
        return {}

    def _wall_s(self) -> float | None:
        folder, record = self.found.folder, self.found.record
        if folder is not None:
            execution = folder.load()
            return None if execution.ended_ms is None else (execution.ended_ms - execution.started_ms) / 1000
        return None if record is None or record.end_ms is None else (record.end_ms - record.start_ms) / 1000


def find_original(run_id: str, place: Place, scratch: Path) -> Original:
    """Find a run and read its recipe.

    Args:
        run_id: as `find_run` takes it.
        place: where to look.
        scratch: folder that receives what is fetched; it outlives the original's use.

    Raises:
        InputError: no run, or more than one, has such an id.
        TrackingError: the tracker is needed and cannot be reached.
    """
    documents = Documents(find_run(run_id, place, passing_over=REPRODUCES_TAG), place, scratch)
    problem, wanted = "", _told_digest(documents)
    for path in documents.copies(RECIPE_FILE):
        try:
            recipe = Recipe.from_json(path.read_bytes())
        except (InputError, OSError) as error:
            problem = problem or str(error)
            continue
        if wanted in {None, recipe.digest}:
            return Original(documents, recipe)
        problem = problem or f"{path} has the recipe digest {recipe.digest[:12]}, the run is tagged {str(wanted)[:12]}"
    return Original(documents, None, problem or documents.unreachable or "it is kept nowhere")


def _told_digest(documents: Documents) -> str | None:
    """Return the recipe digest that the run was tagged with when it started; None where it was not."""
    folder, record = documents.found.folder, documents.found.record
    tags = folder.load().tags if folder is not None else record.tags if record is not None else {}
    return tags.get("recipe_digest")


def _proof(recipe: Recipe) -> tuple[str, str]:
    return recipe.digest, recipe.outputs.digest


def _metrics_in(path: Path) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads(path.read_bytes())["facts"]["metrics"]
        canonical_json(metrics)
    except (OSError, ValueError, LookupError, TypeError, InputError):
        return {}
    return metrics
