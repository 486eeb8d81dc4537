"""A foreign engine with steps of our own; the tests of another engine bring their own."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctr_pipeline.engines.attempt import StepJob
from ctr_pipeline.engines.foreign import ForeignEngine
from ctr_pipeline.pipeline import StepSpec
from tests.engines.foreign_steps import Attempt, lightened, write_code
from tests.house.project import ROOT
from tests.small_log import small_settings


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of steps of our own."""
    return write_code(tmp_path_factory.mktemp("foreign") / "code")


@pytest.fixture
def light() -> Iterator[None]:
    """A server that starts at once."""
    with lightened():
        yield


@pytest.fixture(scope="module")
def engine(code: Path) -> Iterator[ForeignEngine]:
    with lightened():
        engine = ForeignEngine(Path(sys.executable), code.with_name("steps.log"))
        engine.use_code([code, ROOT])
    with engine:
        yield engine


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    """A job of our own step that ends in the way asked for."""
    (tmp_path / "settings.json").write_text(small_settings().to_json(), encoding="utf-8")
    (tmp_path / "way").mkdir()
    os.mkfifo(tmp_path / "way" / "fifo")

    def job(way: str, module: str = "own_step") -> StepJob:
        (tmp_path / "way" / "way").write_text(way, encoding="utf-8")
        spec = StepSpec("own", module, {"way": "way"})
        return StepJob(spec, tmp_path / "settings.json", {"way": tmp_path / "way"}, tmp_path / "own")

    return job
