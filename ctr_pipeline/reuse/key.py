"""A step's key: everything that its output follows from, in parts that can be told apart.

Two steps with one key leave the same output. The parts are kept, not only their digest, so that a miss can name what
changed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from ctr_pipeline.config import Settings
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.version import DIGEST_FORMAT
from ctr_pipeline.pipeline import DATA_INPUT, StepSpec
from ctr_pipeline.reuse.imports import Sources
from ctr_pipeline.steps.job import CONTRACT, StepRecord
from tracking.canonical import canonical_json, sha256_hex
from tracking.environment import normalised

KEY_FORMAT: Final = 1
INPUT: Final = "input"
SETTINGS: Final = "settings"
CODE: Final = "code"
OWN_CODE: Final = "own code"
LIBRARIES: Final = "libraries"
MACHINE: Final = "machine"
FORMATS: Final = "formats"
LOCK: Final = "lock"
DATA_VERSION: Final = f"{DATA_INPUT}.version"
DATA_FILES: Final = f"{DATA_INPUT}.files"
# A training step pins these in the model's requirements, imported by it or not.
_PINNED: Final = ("mlflow", "pandas")
_OURS: Final = ("ctr_pipeline", "tracking")

type Parts = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class StepKey:
    """What a step's output follows from.

    Attributes:
        step: its name.
        parts: texts by name, by part: what is read, the settings, the code, the libraries, the machine, the formats.
    """

    step: str
    parts: Parts

    @property
    def digest(self) -> str:
        """The sha256 of the canonical JSON, 64 hex digits."""
        return sha256_hex(canonical_json({"format": KEY_FORMAT, **asdict(self)}))

    def without(self, part: str) -> "StepKey":
        """Return the key without one of its parts."""
        return StepKey(self.step, {name: texts for name, texts in self.parts.items() if name != part})


@dataclass(frozen=True, slots=True)
class Change:
    """What one part says differently; None where it says nothing."""

    part: str
    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a key holds beside the step's input and settings.

    Attributes:
        sources: our own packages' files.
        own_code: sha256 by path of a team's own files; empty where the settings name no function.
        own_imports: our own modules that those files import.
        packages: version by normalised name of what is installed.
        lock_digest: what the libraries are (`Environment.lock_digest`).
        python_version: such as "3.12.1".
        gpus: models of the machine's GPUs.
    """

    sources: Sources
    own_code: Mapping[str, str]
    own_imports: tuple[str, ...]
    packages: Mapping[str, str]
    lock_digest: str
    python_version: str
    gpus: tuple[str, ...] = field(default=())


def step_key(spec: StepSpec, settings: Settings, inputs: Mapping[str, str], surroundings: Surroundings) -> StepKey:
    """Return the key of a step that is about to run.

    Args:
        spec: the step.
        settings: of the run, as the step will read them.
        inputs: digest by name of what it reads, as `data_input` and `step_input` tell.
        surroundings: code, libraries and machine.
    """
    values = settings.resolved()
    functions = tuple(functions_of(spec, values))
    ours = tuple(name for name in functions if name.partition(".")[0] in _OURS)
    has_own = len(functions) > len(ours)
    closure = surroundings.sources.closure((spec.module, *ours, *(surroundings.own_imports if has_own else ())))
    named = sorted({normalised(name) for name in (*closure.others, *_PINNED)} & set(surroundings.packages))
    libraries = {name: surroundings.packages[name] for name in named}
    own: Mapping[str, str] = {}
    if has_own:
        # What a team's function imports is known by its versions alone: all that is installed counts.
        libraries, own = dict(surroundings.packages), surroundings.own_code
    parts = {
        INPUT: dict(inputs),
        SETTINGS: dict(settings_read(spec.settings, values)),
        CODE: {path: sha256_hex(surroundings.sources.files[path]) for path in closure.files},
        OWN_CODE: dict(own),
        LIBRARIES: {**libraries, LOCK: surroundings.lock_digest, "python": surroundings.python_version},
        MACHINE: _machine(spec, settings, surroundings.gpus),
        FORMATS: {"job contract": str(CONTRACT), "digest": str(DIGEST_FORMAT), "key": str(KEY_FORMAT)},
    }
    return StepKey(spec.name, parts)


def data_input(manifest: DatasetManifest) -> dict[str, str]:
    """Return what a step reads of pinned impressions: rows, files by name and bytes, how they are read, their name.

    Where the files lie does not count.
    """
    digests = {file.path: (file.sha256, file.size) for file in manifest.files}
    return {
        DATA_VERSION: manifest.data_version,
        DATA_FILES: files_digest(digests),
        f"{DATA_INPUT}.format": canonical_json(asdict(manifest.data_format)).decode(),
        f"{DATA_INPUT}.name": manifest.name,
    }


def files_digest(files: Mapping[str, tuple[str, int]]) -> str:
    """Return the digest of files, given the sha256 and the size in bytes by path."""
    return sha256_hex(canonical_json(sorted([path, *described] for path, described in files.items())))


def step_input(channel: str, record: StepRecord) -> dict[str, str]:
    """Return the digests of what an earlier step left: its outputs, and its facts, which later steps read."""
    facts = sha256_hex(json.dumps(record.facts, sort_keys=True).encode())
    return {**{f"{channel}.{name}": digest for name, digest in record.outputs.items()}, f"{channel}.facts": facts}


def settings_read(keys: tuple[str, ...], values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield those of the settings' leaves, as JSON texts, that lie at or below one of the dotted keys."""
    for path, value in _leaves(values):
        if any(path == key or path.startswith(f"{key}.") for key in keys):
            yield path, json.dumps(value, ensure_ascii=False)


def functions_of(spec: StepSpec, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the modules of the functions that the settings name for a step."""
    texts = (json.loads(text) for _, text in settings_read(spec.functions, values))
    yield from (text.partition(":")[0] for text in texts if isinstance(text, str))


def changes(old: StepKey, new: StepKey) -> tuple[Change, ...]:
    """Return what differs, in the order of the parts."""
    found: list[Change] = []
    for part in dict.fromkeys((*new.parts, *old.parts)):
        before, after = old.parts.get(part, {}), new.parts.get(part, {})
        names = sorted({*before, *after})
        found += [Change(part, n, before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)]
    return tuple(found)


def _machine(spec: StepSpec, settings: Settings, gpus: tuple[str, ...]) -> dict[str, str]:
    device = settings.train.device if spec.uses_device else "cpu"
    return {"device": device} if device == "cpu" else {"device": device, "gpus": ", ".join(gpus)}


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    else:
        yield path, value
