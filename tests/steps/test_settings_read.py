"""Each step reads only the settings that it declares: what it reads and does not declare would make reuse lie."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import pytest
from pydantic import BaseModel

from ctr_pipeline.config import Settings
from ctr_pipeline.config_types import Section
from ctr_pipeline.pipeline import CIRCUMSTANTIAL, PIPELINE, StepSpec
from tests.small_log import data_folder, impressions, run_step, small_settings

_OWN: Final = """
import pyarrow as pa

def add(batch):
    return batch

def metric(label, probability, weight):
    return float(probability.mean())
"""
_VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "by time": {},
    "by user": {
        "split": {"by": "user"},
        "features": {"statistics": {"scheme": "kfold"}, "crosses": []},
        "train": {"subsample": 0.8, "click_weight": 2.0, "monotone": {"price": 1}, "early_stopping_rounds": None},
    },
    "by row, sliced": {
        "split": {"by": "row"},
        "evaluate": {"slices": ["site"], "lift_at": [0.5]},
        "data": {"columns": {"group": "user"}},
    },
    "by files": {"split": {"by": "files", "validation_files": ["b.parquet"], "test_files": ["c.parquet"]}},
    "own functions": {
        "features": {"custom": "own_settings_read:add"},
        "evaluate": {"metrics": {"mean": "own_settings_read:metric"}},
    },
    "until": {"as_of": "2026-03-07", "split": {"end": "2026-03-06T12:00:00Z", "gap": "1h"}},
}


class _Reads:
    """Which settings were read, as dotted keys."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self._places: dict[int, str] = {}
        self._held: list[object] = []
        self._silent = False

    def place(self, value: object, key: str) -> None:
        if isinstance(value, Section):
            self._places[id(value)] = key
            self._held.append(value)
            for name in type(value).model_fields:
                self.place(BaseModel.__getattribute__(value, name), f"{key}.{name}".removeprefix("."))
        elif isinstance(value, Mapping):
            for name, item in value.items():
                self.place(item, f"{key}.{name}")

    def told(self, section: Section, name: str) -> None:
        place = self._places.get(id(section))
        if place is None or self._silent or name not in type(section).model_fields:
            return
        value = BaseModel.__getattribute__(section, name)
        if not isinstance(value, Section):
            self.keys.add(f"{place}.{name}".removeprefix("."))

    @contextmanager
    def silence(self) -> Iterator[None]:
        self._silent, before = True, self._silent
        yield
        self._silent = before


class _Traced(dict[str, Any]):
    """Resolved settings that tell which of them were taken out."""

    def __init__(self, values: Mapping[str, Any], reads: _Reads, key: str) -> None:
        super().__init__(values)
        self._reads, self._key = reads, key

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - JSON values
        value, key = super().__getitem__(name), f"{self._key}.{name}".removeprefix(".")
        if isinstance(value, dict):
            # A section taken out is read whole, unless it is only a way to one of its own.
            return _Traced(value, self._reads, key)
        self._reads.keys.add(key)
        return value

    def items(self) -> Any:  # noqa: ANN401 - a view
        self._reads.keys.add(f"{self._key}.*" if self._key else "*")
        return super().items()


@contextmanager
def _traced(reads: _Reads) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:

        def read(self: Section, name: str) -> Any:  # noqa: ANN401 - any setting
            reads.told(self, name)
            return BaseModel.__getattribute__(self, name)

        def resolved(self: Settings) -> dict[str, Any]:
            with reads.silence():
                return _Traced(plain(self), reads, "")

        def whole(self: Settings, *_: object, **told: Any) -> str:  # noqa: ANN401 - pydantic's options
            reads.keys.add("*")
            with reads.silence():
                return dump(self, **told)

        plain, dump = Settings.resolved, Settings.model_dump_json
        patch.setattr(Section, "__getattribute__", read, raising=False)
        patch.setattr(Settings, "resolved", resolved)
        patch.setattr("ctr_pipeline.steps.train._model_settings", _model_settings_read(reads))
        patch.setattr(Settings, "to_json", whole)
        yield


def _model_settings_read(reads: _Reads) -> Any:  # noqa: ANN401 - a function
    from ctr_pipeline.steps import train  # noqa: PLC0415 - the one that is not patched yet

    original = train._model_settings

    def read(settings: Settings) -> str:
        with reads.silence():
            text = original(settings)
        written = Settings.model_validate_json(text).model_fields_set
        reads.keys.update("data.columns.*" if name == "data" else f"{name}.*" for name in written)
        return text

    return read


def _undeclared(spec: StepSpec, reads: _Reads) -> set[str]:
    known = (*spec.settings, *spec.checks, *CIRCUMSTANTIAL)
    read = {key.removesuffix(".*") for key in reads.keys}
    return {key for key in read if not any(key == name or key.startswith(f"{name}.") for name in known)}


@pytest.mark.parametrize("variant", _VARIANTS)
def test_a_step_reads_only_what_it_declares(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_settings_read.py").write_text(_OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    settings = small_settings(**_VARIANTS[variant])
    log = impressions(1_500)
    files = {"a.parquet": log.slice(0, 900), "b.parquet": log.slice(900, 300), "c.parquet": log.slice(1_200)}
    data = data_folder(files, tmp_path)
    read: dict[str, set[str]] = {}
    for spec in PIPELINE:
        reads = _Reads()
        reads.place(settings, "")
        inputs = {channel: data if source == "data" else tmp_path / source for channel, source in spec.inputs.items()}
        with _traced(reads):
            run_step(spec.name, settings, tmp_path / spec.name, **inputs)
        assert not _undeclared(spec, reads)
        read[spec.name] = reads.keys
    assert "train.rounds" in read["train"]
    assert "evaluate.replicates" in read["evaluate"]
    assert "data.uri" in read["preprocess"]


def test_the_trace_notices_a_setting_that_is_read_and_not_declared() -> None:
    reads, settings = _Reads(), small_settings()
    reads.place(settings, "")
    with _traced(reads):
        assert settings.train.rounds
        assert settings.resolved()["evaluate"]["replicates"]
        dict(settings.resolved()["split"].items())
        settings.to_json()
    assert {"train.rounds", "evaluate.replicates", "split.*", "*"} <= reads.keys
    assert _undeclared(PIPELINE[0], reads) >= {"train.rounds", "evaluate.replicates", "*"}


def test_every_declared_key_is_a_setting() -> None:
    known = set(_keys(Settings, ""))
    for spec in PIPELINE:
        assert {*spec.settings, *spec.checks, *spec.functions, *CIRCUMSTANTIAL} <= known
        assert all(any(f == key or f.startswith(f"{key}.") for key in spec.settings) for f in spec.functions)


def _keys(section: type[Section], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        kinds = (field.annotation, *get_args(field.annotation)) if get_origin(field.annotation) else (field.annotation,)
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from _keys(kind, f"{prefix}{name}.")
