"""What a re-run is made of, and the identity that follows from it: stated by the same rules as the original's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctr_pipeline.config import SplitSettings
from ctr_pipeline.data.manifest import DatasetManifest
from ctr_pipeline.data.splits import split_of_file, utc_text
from ctr_pipeline.reproduce.code import StepCode
from ctr_pipeline.reproduce.environment import Interpreter
from ctr_pipeline.reproduce.pinned_data import FoundData
from tracking.recipe import Identity


@dataclass(frozen=True, slots=True)
class Materials:
    """What a re-run is made of, ready to be used.

    Attributes:
        settings: that the steps get.
        code: that they run.
        interpreter: that runs them.
        data: that they read.
        given: by step, the output of the original that stands for a step's own.
        given_layers: by layer, the digest of what was given; None where nothing follows from that layer.
    """

    settings: Mapping[str, Any]
    code: StepCode
    interpreter: Interpreter
    data: FoundData
    given: Mapping[str, Path] = field(default_factory=dict)
    given_layers: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def is_frozen(self) -> bool:
        """Whether the original's model is only tested."""
        return bool(self.given)


def identity_of(materials: Materials, recorded: Identity, deciding: Mapping[str, Any] | None = None) -> Identity:
    """Return what decides about a re-run's results.

    Args:
        materials: what it is made of.
        recorded: the original's, which says what counted when it ran.
        deciding: the settings that count, where they are not the recorded ones.
    """
    settings = materials.settings
    times = materials.data.manifest.time_range
    decisive = _alike(settings, recorded.settings) if deciding is None else dict(deciding)
    if "files_content" in recorded.settings.get("split", {}):
        decisive["split"]["files_content"] = _files_content(settings["split"], materials.data.manifest)
    return Identity(
        code_digest=materials.code.digest,
        data_digest=materials.data.manifest.digest,
        settings=decisive,
        lock_digest=materials.interpreter.lock_digest,
        python_version=materials.interpreter.python_version,
        seed=settings["seed"],
        as_of=settings.get("as_of") or (utc_text(times.end_us) if times else None),
    )


def _alike(settings: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the settings that decides, as the run's own version saw it.

    That is told by sections and their keys. What lies deeper counts whole: names of columns, which may be others now.
    """
    return {key: _section(settings[key], value) for key, value in like.items() if key in settings}


def _section(value: Any, like: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    if not (isinstance(value, Mapping) and isinstance(like, Mapping) and like):
        return value
    return {key: item for key, item in value.items() if key in like}


def _files_content(split: Mapping[str, Any], manifest: DatasetManifest) -> list[list[str]]:
    patterns = SplitSettings.model_construct(
        validation_files=tuple(split["validation_files"]), test_files=tuple(split["test_files"])
    )
    return sorted([split_of_file(file.path, patterns).name.lower(), file.content] for file in manifest.files)
