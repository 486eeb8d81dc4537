"""What differs between two runs, as one frozen value; `diff` fills it, the command line and the pages show it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ctr_pipeline.workflows.diff_parts import (
    CalibrationView,
    Change,
    CodeDiff,
    CurveView,
    DataDiff,
    FittedDiff,
    ImportanceChange,
    MetricChange,
    MetricsDiff,
    StatisticChange,
    TrainingDiff,
)
from tracking.plain import plain

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class SideView:
    """One of the two runs."""

    run_id: str | None
    execution_id: str | None
    name: str
    status: str
    started_utc: str
    user: str | None
    data_version: str
    code_version: str | None
    recipe_digest: str
    grade: str | None

    @property
    def shown_id(self) -> str:
        """The id to ask for it by."""
        return self.run_id or self.execution_id or "not logged"


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Two runs beside each other, what is equal included.

    Attributes:
        settings: by dotted key.
        environment: Python, the lock, the image.
        packages: by name.
        outputs: digests by layer.
        calibration: bins of both runs.
        circumstances: what surrounded the runs and decides about nothing.
        notes: what a reader must know, such as a tracker that could not be asked.
    """

    a: SideView
    b: SideView
    settings: tuple[Change, ...]
    data: DataDiff
    code: CodeDiff
    environment: tuple[Change, ...]
    packages: tuple[Change, ...]
    preprocessing: FittedDiff
    training: TrainingDiff
    outputs: tuple[Change, ...]
    metrics: MetricsDiff
    calibration: tuple[CalibrationView, ...]
    circumstances: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def is_same_run(self) -> bool:
        """Whether a run was compared with itself."""
        return (self.a.run_id, self.a.execution_id) == (self.b.run_id, self.b.execution_id)

    @property
    def same_recipe(self) -> bool:
        """Whether both were made of the same: code, data, settings, libraries, Python."""
        return self.a.recipe_digest == self.b.recipe_digest

    def differing(self) -> "RunDiff":
        """Return the differences alone."""
        fitted, training = self.preprocessing, self.training
        return replace(
            self,
            settings=_unequal(self.settings),
            data=replace(self.data, facts=_unequal(self.data.facts)),
            code=replace(self.code, facts=_unequal(self.code.facts)),
            environment=_unequal(self.environment),
            packages=_unequal(self.packages),
            preprocessing=replace(
                fitted,
                facts=_unequal(fitted.facts),
                features=_unequal(fitted.features),
                statistics=_unequal(fitted.statistics),
            ),
            training=replace(
                training,
                facts=_unequal(training.facts),
                importance=_unequal(training.importance),
                curves=() if _same(training.curves) else training.curves,
            ),
            outputs=_unequal(self.outputs),
            metrics=replace(self.metrics, metrics=_unequal(self.metrics.metrics)),
            calibration=() if _same(self.calibration) else self.calibration,
            circumstances=_unequal(self.circumstances),
        )

    def to_record(self) -> dict[str, Any]:
        """Return the JSON object that `--json` prints."""
        found: Mapping[str, Any] = plain(self)
        return {"format": FORMAT, "same_run": self.is_same_run, "same_recipe": self.same_recipe, **found}


type _Compared = Change | StatisticChange | ImportanceChange | MetricChange


def _unequal[T: _Compared](changes: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(change for change in changes if not change.is_equal)


def _same[T: CurveView | CalibrationView](drawn: tuple[T, ...]) -> bool:
    first = [replace(item, run="a") for item in drawn if item.run == "a"]
    second = [replace(item, run="a") for item in drawn if item.run == "b"]
    return first == second
