"""A kept output takes its second place whole and verified, or not at all."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ctr_pipeline.reuse.output import DamagedOutputError, take_over
from ctr_pipeline.steps.job import Job, Progress, StepRecord, StepResult, perform, read_step
from tests.small_log import small_settings
from tracking.canonical import sha256_file
from tracking.records import Artifact


def _step(job: Job) -> StepResult:
    (job.output / "model").mkdir()
    (job.output / "model" / "trees").write_bytes(b"trees")
    (job.output / "table.csv").write_bytes(b"a,b\n")
    return StepResult({"model": "m"}, {"n": 1}, (Artifact("table.csv"),))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A finished step's output."""
    folder = tmp_path / "one" / "train"
    perform("train", _step, Job(small_settings(), {}, folder, Progress(folder / "progress.json")))
    return folder


def _take(kept: Path, into: Path, check: Callable[[], None] = lambda: None, sha256: str | None = None) -> StepRecord:
    return take_over(kept, into, record_sha256=sha256 or sha256_file(kept / "step.json"), check=check)


def _links(folder: Path) -> set[int]:
    return {path.stat().st_nlink for path in folder.rglob("*") if path.is_file()}


def test_the_output_is_linked_whole(kept: Path, tmp_path: Path) -> None:
    into = tmp_path / "two" / "train"
    assert _take(kept, into) == read_step(kept)
    names = {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()}
    assert names == {"step.json", "items.jsonl", "table.csv", "model/trees"}
    assert _links(into) == {2}
    shutil.rmtree(kept)
    assert (into / "model" / "trees").read_bytes() == b"trees"


def test_where_nothing_can_be_linked_it_is_copied(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    _take(kept, tmp_path / "two" / "train")
    assert _links(tmp_path / "two" / "train") == {1}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda kept: (kept / "table.csv").write_bytes(b"a,c\n"), r"table\.csv was changed after the step had written"),
        (lambda kept: (kept / "table.csv").write_bytes(b"a"), r"table\.csv has 1 bytes, must have 4"),
        (lambda kept: (kept / "items.jsonl").write_bytes(b""), r"items\.jsonl has 0 bytes, must have \d+"),
    ],
    ids=["other bytes", "cut off", "items"],
)
def test_a_damaged_output_is_refused_and_leaves_nothing(
    kept: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(kept)
    with pytest.raises(DamagedOutputError, match=message):
        _take(kept, tmp_path / "two" / "train")
    assert not list((tmp_path / "two").iterdir())


def test_a_changed_record_is_refused(kept: Path, tmp_path: Path) -> None:
    with pytest.raises(DamagedOutputError, match=r"step\.json was changed after the step had written it$"):
        _take(kept, tmp_path / "train", sha256="0" * 64)


def test_a_link_in_a_files_place_is_refused(kept: Path, tmp_path: Path) -> None:
    (kept / "table.csv").rename(tmp_path / "away.csv")
    (kept / "table.csv").symlink_to(tmp_path / "away.csv")
    with pytest.raises(DamagedOutputError, match=r"table\.csv is a link, must be the file that the step left$"):
        _take(kept, tmp_path / "train")


def test_an_output_of_an_older_version_cannot_be_verified(kept: Path, tmp_path: Path) -> None:
    text = (kept / "step.json").read_text(encoding="utf-8")
    (kept / "step.json").write_text(text.replace('"files"', '"once"'), encoding="utf-8")
    assert read_step(kept).files is None
    with pytest.raises(DamagedOutputError, match=r"does not list the step's files: an older version wrote it$"):
        _take(kept, tmp_path / "train")


def test_an_output_that_goes_meanwhile_is_missing_and_an_interrupt_ends_it(kept: Path, tmp_path: Path) -> None:
    def remove() -> None:
        shutil.rmtree(kept, ignore_errors=True)

    with pytest.raises(FileNotFoundError):
        _take(kept, tmp_path / "two" / "train", remove)

    def interrupt() -> None:
        raise KeyboardInterrupt

    perform("train", _step, Job(small_settings(), {}, kept, Progress(kept / "progress.json")))
    with pytest.raises(KeyboardInterrupt):
        _take(kept, tmp_path / "two" / "train", interrupt)
    assert not list((tmp_path / "two").iterdir())
