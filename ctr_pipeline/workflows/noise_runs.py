"""The extra runs of a noise band: train and evaluate again with nothing changed but what chance touches.

That is the seed where the training draws by it, else the order of the training rows. Test rows stay the same, so that
predictions can be compared row by row.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pyarrow.parquet as pq

from ctr_pipeline.config import Settings
from ctr_pipeline.data.permuted import permute_rows
from ctr_pipeline.engines.attempt import LOG_SUFFIX, PARTIAL_SUFFIX, StepJob
from ctr_pipeline.evaluation.noise import Chance, Margins, NoiseBand, measure_noise, point_metrics
from ctr_pipeline.pipeline import EVALUATE, PREPROCESS, TRAIN, StepSpec
from ctr_pipeline.steps.job import ITEMS_FILE, STEP_FILE, StepRecord
from ctr_pipeline.workflows.execution import SETTINGS_FILE, ExecutionFolder, noise_name
from tracking.aside import replace_whole
from tracking.canonical import sha256_hex
from tracking.errors import InputError, JobError
from tracking.items import write_items
from tracking.records import Artifact, Item, Metric, Param

# What the steps call their files: importing the steps for it would load xgboost.
_TRAIN_FILE: Final = "train.parquet"
_PREDICTIONS_FILE: Final = "predictions.parquet"
_MARGIN: Final = "margin"
_SPLITS: Final = "splits"
_MODEL: Final = "model"
_SEEDS: Final = 2**31
# The fewest that settings allow: a band is of the metrics themselves, not of their intervals.
_REPLICATES: Final = 100


@dataclass(frozen=True, slots=True)
class NoisePlan:
    """Which extra runs there will be.

    Attributes:
        chance: what differs between them.
        seeds: of each: of the training, or of the permutation of its rows.
    """

    chance: Chance
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the plan that the settings ask for, None where they ask for none."""
        wanted = settings.reproduce.noise_runs
        if wanted is None:
            return None
        draws = settings.train.subsample < 1 or settings.train.colsample_bytree < 1
        return cls("seed" if draws else "row order", _seeds(settings.seed, wanted))


@dataclass(frozen=True, slots=True)
class NoiseBench:
    """What the extra runs are made with.

    Attributes:
        folder: of the execution, whose steps are over.
        run_step: runs a step to its end.
        attempt: the extra run of that name begins, and ends with the block.
        check: raises to end it.
        code_folders: folders from which a team's own modules are imported.
    """

    folder: ExecutionFolder
    run_step: Callable[[StepJob], StepRecord]
    attempt: Callable[[str], AbstractContextManager[object]]
    check: Callable[[], None]
    code_folders: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """A run's metrics, its margins of the n test rows, shape (n,), and its digests by layer."""

    metrics: Mapping[str, float]
    margins: Margins
    outputs: Mapping[str, str]


def measure_band(plan: NoisePlan, bench: NoiseBench, evaluated: StepRecord) -> NoiseBand:
    """Make the extra runs, measure the band over them and the run itself, and keep it in the execution's folder.

    Args:
        plan: which runs.
        bench: what they are made with.
        evaluated: the record of the run's own evaluate step.

    Raises:
        InputError: a step refused its input.
        JobError: a step failed.
        StoreError: the band could not be written.
        KeyboardInterrupt: it was interrupted.
    """
    folder = bench.folder
    runs = [_measured(evaluated, folder.step(EVALUATE.name), {})]
    for number, seed in enumerate(plan.seeds, start=1):
        bench.check()
        with bench.attempt(noise_name(number)):
            runs.append(_NoiseRun(plan.chance, number, seed, bench).make())
    band = measure_noise(plan.chance, [run.metrics for run in runs], [run.margins for run in runs])
    each = [
        {"run": number, "seed": seed, "outputs": dict(run.outputs), "metrics": dict(run.metrics)}
        for number, (seed, run) in enumerate(zip(plan.seeds, runs[1:], strict=True), start=1)
    ]
    replace_whole(folder.noise_band, json.dumps({**band.to_record(), "each": each}, indent=1, sort_keys=True).encode())
    return band


@dataclass(frozen=True, slots=True)
class _NoiseRun:
    """One extra run. Its bulk lies in a folder that counts as half-written and goes in any case."""

    chance: Chance
    number: int
    seed: int
    bench: NoiseBench

    @property
    def _work(self) -> Path:
        return self.bench.folder.path / f"{noise_name(self.number)}{PARTIAL_SUFFIX}"

    @property
    def _kept(self) -> Path:
        return self.bench.folder.noise(self.number)

    def make(self) -> _Measured:
        with self._workplace() as work:
            splits = self.bench.folder.step(PREPROCESS.name)
            settings = self._settings(work)
            trained = self._splits(splits, work, settings)
            model = self._step(TRAIN, {_SPLITS: trained})
            evaluated = self._step(EVALUATE, {_SPLITS: splits, _MODEL: work / TRAIN.name})
            found = _measured(evaluated, work / EVALUATE.name, model.outputs)
            self._keep(found)
        return found

    @contextmanager
    def _workplace(self) -> Iterator[Path]:
        work = self._work
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(self._kept, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            yield work
        except (JobError, InputError) as error:
            # The log outlives the folder that the message names.
            self._kept.mkdir(parents=True, exist_ok=True)
            for log in work.glob(f"*{LOG_SUFFIX}"):
                shutil.copyfile(log, self._kept / log.name)
            raise type(error)(str(error).replace(str(work), str(self._kept))) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _settings(self, work: Path) -> Settings:
        settings = Settings.from_json(self.bench.folder.settings.read_bytes())
        evaluate = settings.evaluate.model_copy(update={"replicates": _REPLICATES, "slices": ()})
        changed: dict[str, Any] = {"evaluate": evaluate}
        if self.chance == "seed":
            changed["seed"] = self.seed
        settings = settings.model_copy(update=changed)
        (work / SETTINGS_FILE).write_text(settings.to_json(), encoding="utf-8")
        return settings

    def _splits(self, splits: Path, work: Path, settings: Settings) -> Path:
        """Return what the training reads: the run's own splits, or the same with the training rows in another order."""
        if self.chance == "seed":
            return splits
        target = work / _SPLITS
        for path in sorted(splits.rglob("*")):
            if path.is_file() and path.relative_to(splits).as_posix() != _TRAIN_FILE:
                _link(path, target / path.relative_to(splits))
        permute_rows(
            splits / _TRAIN_FILE,
            target / _TRAIN_FILE,
            seed=self.seed,
            batch_rows=settings.runtime.batch_rows,
            check=self.bench.check,
        )
        return target

    def _step(self, spec: StepSpec, inputs: Mapping[str, Path]) -> StepRecord:
        settings, output = self._work / SETTINGS_FILE, self._work / spec.name
        return self.bench.run_step(StepJob(spec, settings, inputs, output, self.bench.code_folders))

    def _keep(self, found: _Measured) -> None:
        records = tuple(f"{name}/{STEP_FILE}" for name in (TRAIN.name, EVALUATE.name))
        for record in records:
            (self._kept / record).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._work / record, self._kept / record)
        write_items(self._kept / ITEMS_FILE, self._items(found, records))

    def _items(self, found: _Measured, records: tuple[str, ...]) -> Iterator[Item]:
        yield Param("noise.chance", self.chance)
        yield Param("noise.seed", str(self.seed))
        for name, value in found.metrics.items():
            yield Metric(name, value)
        for record in records:
            yield Artifact(record, record.rpartition("/")[0])


def _measured(evaluated: StepRecord, output: Path, of_model: Mapping[str, str]) -> _Measured:
    metrics = evaluated.facts["metrics"]
    margins = pq.read_table(output / _PREDICTIONS_FILE, columns=[_MARGIN]).column(_MARGIN).to_numpy()
    return _Measured(
        {name: metrics[name] for name in point_metrics(metrics)}, margins, {**of_model, **evaluated.outputs}
    )


def _seeds(seed: int, wanted: int) -> tuple[int, ...]:
    """Return seeds that follow from the run's own, all different, none of them its own."""
    found: dict[int, None] = {}
    draw = 0
    while len(found) < wanted:
        drawn = int(sha256_hex(f"ctr-pipeline noise {seed} {draw}".encode())[:15], 16) % _SEEDS
        draw += 1
        if drawn != seed:
            found[drawn] = None
    return tuple(found)


def _link(source: Path, target: Path) -> None:
    """Give a file that is only read a second place, without a copy where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
