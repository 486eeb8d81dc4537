"""Reusing steps in a run: an earlier output with the same key takes the step's place, verified and linked.

Before anything imports the code, its files are read; after a step ran they are looked at again. An output that was
made while its code changed is used by nobody else: which version made it is not known.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ctr_pipeline.config import Settings
from ctr_pipeline.data.manifest import read_manifest
from ctr_pipeline.pipeline import DATA_INPUT, StepSpec
from ctr_pipeline.reuse.imports import Sources
from ctr_pipeline.reuse.key import StepKey, Surroundings, data_input, step_input, step_key
from ctr_pipeline.reuse.output import DamagedOutputError, take_over
from ctr_pipeline.steps.job import MANIFEST_FILE, STEP_FILE, StepRecord
from ctr_pipeline.workflows.preparation import DATA_FOLDER, PreparedRun
from ctr_pipeline.workflows.reuse_record import EarlierSteps, Origin, StepReuse, with_packages, write_reuse
from ctr_pipeline.workflows.reuse_surroundings import changed_since, own_code, surroundings
from tracking.canonical import sha256_file


@dataclass(frozen=True, slots=True)
class TakenStep:
    """An output that took a step's place; `wall_s` of the record is what that cost now."""

    record: StepRecord
    origin: Origin


class Reuse:
    """Decides for each step of one run, and writes down what it decided."""

    def __init__(self, prepared: PreparedRun, around: Surroundings, *, look: bool) -> None:
        """Take up a run; `of` does it for most callers.

        Args:
            prepared: the run.
            around: code, libraries and machine.
            look: whether earlier outputs are used; the keys are kept in any case.
        """
        self._folder = prepared.folder
        self._execution = prepared.execution
        self._code_root, self._code_start = prepared.code_root, prepared.code_start
        self._around = around
        self._look = look
        self._settings = Settings.from_json(prepared.folder.settings.read_bytes())
        self._earlier = EarlierSteps.of(prepared.home, but=prepared.execution.execution_id)
        self.steps: dict[str, StepReuse] = {}

    @classmethod
    def of(cls, prepared: PreparedRun, sources: Sources, *, look: bool) -> Self:
        """Take up a run.

        Args:
            prepared: the run.
            sources: read before any process of the run imported them.
            look: whether earlier outputs are used; the keys are kept in any case.
        """
        settings = Settings.from_json(prepared.folder.settings.read_bytes())
        identity, circumstances = prepared.recipe.identity, prepared.recipe.circumstances
        around = surroundings(
            sources,
            own_code(settings, prepared.code_root, prepared.code_start),
            packages=circumstances.packages,
            lock_digest=identity.lock_digest,
            python_version=identity.python_version,
            gpus=circumstances.gpus,
        )
        return cls(prepared, around, look=look)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Kept outputs that were passed over, and why."""
        return tuple(warning for step in self.steps.values() for warning in step.warnings)

    def take(
        self, spec: StepSpec, records: Mapping[str, StepRecord], output: Path, check: Callable[[], None]
    ) -> TakenStep | None:
        """Put an earlier output in a step's place, if there is one with its key; None where the step has to run.

        Args:
            spec: the step.
            records: of the steps before it.
            output: folder to appear.
            check: called between files; raises to end it.

        Raises:
            StoreError: what was decided cannot be written.
        """
        began = time.monotonic()
        key = step_key(spec, self._settings, self._inputs(spec, records), self._around)
        if not self._look:
            self._keep(spec, StepReuse(key, "off"))
            return None
        taken, warnings = self._first_whole(key, output, check)
        if taken is None:
            nearest, changed = self._earlier.nearest(key)
            id_ = nearest.execution.execution_id if nearest else None
            changed = with_packages(changed, nearest, self._around.packages)
            self._keep(spec, StepReuse(key, "miss", nearest=id_, changes=changed, warnings=warnings))
            return None
        record_sha256 = sha256_file(output / STEP_FILE)
        self._keep(spec, StepReuse(key, "hit", taken.origin, warnings=warnings, record_sha256=record_sha256))
        return TakenStep(replace(taken.record, wall_s=round(time.monotonic() - began, 3)), taken.origin)

    def made(self, spec: StepSpec, output: Path) -> None:
        """Keep the key of a step that ran, so that later runs may use its output.

        Raises:
            StoreError: it cannot be written.
        """
        decided = self.steps[spec.name]
        code = (self._code_root, self._code_start)
        changed = changed_since(decided.key, self._around, self._settings, *code)
        record_sha256 = sha256_file(output / STEP_FILE)
        self._keep(spec, replace(decided, record_sha256=record_sha256, changed_meanwhile=changed))

    def _inputs(self, spec: StepSpec, records: Mapping[str, StepRecord]) -> dict[str, str]:
        found: dict[str, str] = {}
        for channel, source in spec.inputs.items():
            if source == DATA_INPUT:
                found |= data_input(read_manifest(self._folder.path / DATA_FOLDER / MANIFEST_FILE))
            else:
                found |= step_input(channel, records[source])
        return found

    def _first_whole(
        self, key: StepKey, output: Path, check: Callable[[], None]
    ) -> tuple[TakenStep | None, tuple[str, ...]]:
        """Take the newest output of a key that is whole, and tell of those that were not."""
        warnings: dict[str, str] = {}
        for kept in self._earlier.with_key(key):
            origin = kept.origin(self._execution.tracking_uri)
            # Links of one output are damaged together.
            if origin.execution_id in warnings:
                continue
            try:
                record = take_over(kept.output, output, record_sha256=str(kept.reuse.record_sha256), check=check)
            except DamagedOutputError as error:
                warnings[origin.execution_id] = f"{error}: passed over, the step runs"
            except OSError as error:
                if kept.output.exists():
                    warnings[origin.execution_id] = f"{kept.output} cannot be used ({error}): passed over"
            else:
                return TakenStep(record, origin), tuple(warnings.values())
        return None, tuple(warnings.values())

    def _keep(self, spec: StepSpec, reuse: StepReuse) -> None:
        self.steps[spec.name] = reuse
        write_reuse(self._folder, self.steps)
