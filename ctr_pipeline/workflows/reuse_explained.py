"""`explain-reuse`: which steps the next run would reuse, or a past one did; and what changed where not."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from ctr_pipeline.config_file import LoadedSettings
from ctr_pipeline.data.digest_cache import DigestCache, cache_key
from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.reading import sha256_of
from ctr_pipeline.data.s3_fetched import FetchFolder
from ctr_pipeline.data.source import Source
from ctr_pipeline.pipeline import DATA_INPUT, PIPELINE, StepSpec
from ctr_pipeline.reuse.key import DATA_VERSION, INPUT, Change, StepKey, Surroundings, data_input, step_input, step_key
from ctr_pipeline.reuse.words import in_words
from ctr_pipeline.steps.job import STEP_FILE, StepRecord, read_step
from ctr_pipeline.workflows.execution import ExecutionFolder, Home
from ctr_pipeline.workflows.find_run import find_folder
from ctr_pipeline.workflows.place import Place, open_store
from ctr_pipeline.workflows.provenance import MUST_BE_LOCKED, find_tree, kept_settings
from ctr_pipeline.workflows.reuse_record import EarlierSteps, KeptStep, Origin, StepReuse, read_reuse, with_packages
from ctr_pipeline.workflows.reuse_surroundings import own_code, read_sources, surroundings
from tracking.environment import capture_environment
from tracking.errors import InputError

# What stands for a data version that nobody has computed yet.
_UNREAD: Final = "not read yet"


@dataclass(frozen=True, slots=True)
class StepOutlook:
    """What becomes, or became, of a step.

    Attributes:
        step: its name.
        verdict: "hit": an earlier output is used; "miss": the step runs; "open": it runs unless the steps before it,
            which run, come to what they came to earlier; "off": it ran because reuse was switched off.
        origin: who made the output, of a hit.
        compared_with: the execution with the most similar step, where the step runs.
        changes: what is different from that one.
        why: in words, a line each.
        warnings: kept outputs that were passed over.
    """

    step: str
    verdict: Literal["hit", "miss", "open", "off"]
    origin: Origin | None = None
    compared_with: str | None = None
    changes: tuple[Change, ...] = ()
    why: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def explain_run(wanted: str, place: Place) -> tuple[StepOutlook, ...]:
    """Return what became of a past run's steps, as it was decided then.

    Args:
        wanted: as `show` takes it.
        place: its home.

    Raises:
        InputError: the run is not on this machine, or keeps no such record.
    """
    folder = find_folder(wanted, place)
    decided = read_reuse(folder)
    if not decided:
        raise InputError(
            f"run {folder.path.name} keeps no record of reuse, must have one; it ended before its first step, is a "
            "reproduction, which reuses nothing, or was run by an older version"
        )
    return tuple(_past(name, decided[name], folder) for name in (spec.name for spec in PIPELINE) if name in decided)


def explain_next(loaded: LoadedSettings, start: Path) -> tuple[StepOutlook, ...]:
    """Return what would become of the steps of a run with these settings; nothing is computed, copied or kept.

    Args:
        loaded: the settings.
        start: folder in the source tree that the run would belong to.

    Raises:
        InputError: the settings hold a secret, or the data are missing or broken.
    """
    settings = kept_settings(loaded.settings)
    tree = find_tree(start, loaded.settings.resolved())
    home = Home.find(tree.root or start)
    environment = capture_environment(tree.root or start, argv=(), must_be_locked=MUST_BE_LOCKED)
    around = surroundings(
        read_sources(),
        own_code(settings, tree.root, tree.start),
        packages={package.name: package.version for package in environment.packages},
        lock_digest=environment.lock_digest,
        python_version=environment.python_version,
        gpus=environment.gpus,
    )
    outlook = _Outlook(loaded, around, EarlierSteps.of(home))
    fetched = open_store(home, tree.root or start, loaded.settings.data.store).fetched
    return outlook.of(_data(loaded, home, fetched))


class _Outlook:
    """One look ahead."""

    def __init__(self, loaded: LoadedSettings, around: Surroundings, earlier: EarlierSteps) -> None:
        self._settings = kept_settings(loaded.settings)
        self._around = around
        self._earlier = earlier
        self._records: dict[str, StepRecord] = {}

    def of(self, data: Mapping[str, str]) -> tuple[StepOutlook, ...]:
        return tuple(self._step(spec, data) for spec in PIPELINE)

    def _step(self, spec: StepSpec, data: Mapping[str, str]) -> StepOutlook:
        before = tuple(name for name in spec.inputs.values() if name != DATA_INPUT and name not in self._records)
        inputs: dict[str, str] = {}
        for channel, source in spec.inputs.items():
            inputs |= data if source == DATA_INPUT else {}
            inputs |= step_input(channel, self._records[source]) if source in self._records else {}
        key = step_key(spec, self._settings, inputs, self._around)
        return self._behind_running(key, before) if before else self._known(key)

    def _known(self, key: StepKey) -> StepOutlook:
        equal = tuple(self._earlier.with_key(key))
        for kept in equal:
            record = _whole(kept)
            if record is not None:
                self._records[key.step] = record
                return StepOutlook(key.step, "hit", kept.origin(kept.execution.tracking_uri))
        if equal:
            gone = "the output with this key was removed or damaged"
            return StepOutlook(key.step, "miss", compared_with=equal[0].execution.execution_id, why=(gone,))
        nearest, changed = self._earlier.nearest(key)
        return self._running(key.step, "miss", nearest, changed, ())

    def _behind_running(self, key: StepKey, before: tuple[str, ...]) -> StepOutlook:
        nearest, changed = self._earlier.nearest(key, but=INPUT)
        told = f"runs because {before[0]} runs"
        if nearest is None or changed:
            return self._running(key.step, "miss", nearest, changed, (told,))
        return self._running(
            key.step, "open", nearest, (), (f"{told}, unless that comes to the same output as before",)
        )

    def _running(
        self,
        step: str,
        verdict: Literal["miss", "open"],
        nearest: KeptStep | None,
        changed: tuple[Change, ...],
        why: tuple[str, ...],
    ) -> StepOutlook:
        changed = with_packages(changed, nearest, self._around.packages)
        id_ = nearest.execution.execution_id if nearest is not None else None
        return StepOutlook(step, verdict, None, id_, changed, (*why, *_reasons(nearest is not None, changed)))


def _reasons(known: bool, changed: tuple[Change, ...]) -> tuple[str, ...]:  # noqa: FBT001 - a fact, no option
    return tuple(in_words(changed)) if known else ("no earlier run kept such a step",)


def _whole(kept: KeptStep) -> StepRecord | None:
    """Return a kept step's record where all its files are there, by their sizes; a run compares their bytes too."""
    try:
        record = read_step(kept.output)
        files = {kept.output / path: file.size for path, file in (record.files or {}).items()}
        whole = all(path.stat().st_size == size for path, size in files.items())
    except (InputError, OSError, ValueError, LookupError):
        return None
    return record if whole and (kept.output / STEP_FILE).is_file() else None


def _past(name: str, decided: StepReuse, folder: ExecutionFolder) -> StepOutlook:
    why: tuple[str, ...] = ()
    if decided.verdict == "off":
        why = ("reuse was switched off",)
    elif decided.verdict == "miss":
        why = _reasons(decided.nearest is not None, decided.changes)
        same = decided.nearest is not None and not decided.changes
        why = ("the output with this key was removed, damaged, or never finished",) if same else why
    if decided.changed_meanwhile:
        changed = ", ".join(decided.changed_meanwhile)
        why = (*why, f"its output is used by no later run: {changed} changed while {folder.path.name} ran")
    return StepOutlook(name, decided.verdict, decided.origin, decided.nearest, decided.changes, why, decided.warnings)


def _data(loaded: LoadedSettings, home: Home, fetched: FetchFolder | None) -> dict[str, str]:
    """Return what preprocessing would read: by the cached digests of the files' bytes, else marked as not read yet."""
    data = loaded.settings.data
    source = Source.open(
        data.uri, DataFormat(data.format, data.delimiter, data.header, data.column_names), fetched=fetched
    )
    sha256s = {file.path: sha256_of(file) for file in source.files}
    known = DigestCache(home.cache / "digests").get(cache_key(source, sha256s, data.columns.time))
    if known is None:
        return {DATA_VERSION: _UNREAD}
    by_sha256 = {file.sha256: file for file in known.files}
    files = tuple(replace(by_sha256[sha256s[file.path]], path=file.path) for file in source.files)
    return data_input(replace(known, name=loaded.settings.name, files=files, data_format=source.format))
