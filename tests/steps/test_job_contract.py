"""Conformance: each step, started as `docs/job-contract.md` says, leaves what the page says."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ctr_pipeline.pipeline import PIPELINE, StepSpec
from ctr_pipeline.steps import train
from ctr_pipeline.steps.job import CONTRACT, main
from tests.house.project import ROOT
from tests.small_log import data_folder, impressions, small_settings
from tracking.items import read_items
from tracking.records import Artifact, DatasetInput, ModelArtifact

PAGE = (ROOT / "docs" / "job-contract.md").read_text(encoding="utf-8")
RECORD_KEYS = {"contract", "step", "outputs", "facts", "wall_s", "peak_memory_bytes", "files"}


def _start(
    name: str, settings: Path, output: Path, inputs: Mapping[str, Path], *extra: str
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", f"ctr_pipeline.steps.{name}", "--settings", str(settings), "--output", str(output)]
    for channel, folder in inputs.items():
        command += ["--input", f"{channel}={folder}"]
    return subprocess.run([*command, *extra], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)


@pytest.fixture(scope="module")
def execution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with settings and data, and the three steps' outputs, each from a process of its own."""
    folder = tmp_path_factory.mktemp("execution")
    (folder / "settings.json").write_text(small_settings().to_json(), encoding="utf-8")
    data_folder({"a.parquet": impressions(1_000)}, folder)
    for spec in PIPELINE:
        inputs = {channel: folder / source for channel, source in spec.inputs.items()}
        before = {channel: _content(path) for channel, path in inputs.items()}
        done = _start(spec.name, folder / "settings.json", folder / spec.name, inputs)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), spec.name
        assert {channel: _content(path) for channel, path in inputs.items()} == before, "inputs stay as they are"
    return folder


def _content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _record(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "step.json").read_bytes())
    return record


@pytest.mark.parametrize("name", [spec.name for spec in PIPELINE])
def test_a_step_leaves_a_record_with_the_keys_of_the_page(execution: Path, name: str) -> None:
    record = _record(execution / name)
    assert (record["contract"], record["step"]) == (CONTRACT, name)
    assert set(record) == RECORD_KEYS
    assert all(f"`{key}`" in PAGE for key in RECORD_KEYS)
    assert record["outputs"]
    assert all(re.fullmatch("[0-9a-f]{32}|[0-9a-f]{64}", digest) for digest in record["outputs"].values())
    assert record["wall_s"] > 0
    assert record["peak_memory_bytes"] > 10_000_000


@pytest.mark.parametrize("name", [spec.name for spec in PIPELINE])
def test_a_step_leaves_items_whose_files_are_there(execution: Path, name: str) -> None:
    items = read_items(execution / name / "items.jsonl")
    assert items
    paths = [item.path for item in items if isinstance(item, Artifact | ModelArtifact)]
    assert paths
    assert all((execution / name / path).exists() for path in paths)
    assert not any(isinstance(item, DatasetInput) and not item.digest for item in items)


@pytest.mark.parametrize("name", [spec.name for spec in PIPELINE])
def test_a_step_leaves_nothing_but_what_the_page_names(execution: Path, name: str) -> None:
    found = {path.name for path in (execution / name).iterdir()} - {"step.json", "items.jsonl"}
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    named = {text.rstrip("/") for text in re.findall(r"`([^`]+)`", row.rsplit("|", 2)[1])}
    assert found == named


@pytest.mark.parametrize("spec", PIPELINE, ids=lambda spec: spec.name)
def test_each_missing_channel_leaves_with_2_and_its_name(execution: Path, tmp_path: Path, spec: StepSpec) -> None:
    module = importlib.import_module(spec.module)
    for missing in spec.inputs:
        output = tmp_path / missing
        told = ["--settings", str(execution / "settings.json"), "--output", str(output)]
        for channel, source in spec.inputs.items():
            told += ["--input", f"{channel}={execution / source}"] if channel != missing else []
        assert main(module.NAME, module.run, told) == 2
        message = f"input '{missing}' is missing, must be given as --input {missing}=FOLDER"
        assert (output / "failure").read_text(encoding="utf-8") == message
        assert not (output / "step.json").exists()


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (None, "splits holds no step.json: the step did not finish; run it again"),
        (2, "contract == 2, must be 1; update"),
    ],
)
def test_an_input_that_is_half_written_or_of_a_newer_contract_is_refused(
    execution: Path, tmp_path: Path, contract: int | None, message: str
) -> None:
    (tmp_path / "splits").mkdir()
    if contract is not None:
        record = _record(execution / "preprocess") | {"contract": contract}
        (tmp_path / "splits" / "step.json").write_text(json.dumps(record), encoding="utf-8")
    told = ["--settings", str(execution / "settings.json"), "--output", str(tmp_path / "output")]
    assert main(train.NAME, train.run, [*told, "--input", f"splits={tmp_path / 'splits'}"]) == 2
    assert message in (tmp_path / "output" / "failure").read_text(encoding="utf-8")


def test_bad_input_leaves_with_2_and_one_line(execution: Path, tmp_path: Path) -> None:
    done = _start("train", execution / "settings.json", tmp_path / "output", {})
    message = "input 'splits' is missing, must be given as --input splits=FOLDER"
    assert (done.returncode, done.stderr.strip(), done.stdout) == (2, message, "")
    assert (tmp_path / "output" / "failure").read_text(encoding="utf-8") == message


def test_anything_unforeseen_leaves_with_1_and_a_traceback(execution: Path, tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    record = _record(execution / "preprocess") | {"facts": {}}
    (tmp_path / "splits" / "step.json").write_text(json.dumps(record), encoding="utf-8")
    done = _start("train", execution / "settings.json", tmp_path / "output", {"splits": tmp_path / "splits"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert (
        (tmp_path / "output" / "failure").read_text(encoding="utf-8")
        == done.stderr.splitlines()[-1]
        == "KeyError: 'splits'"
    )


def test_wrong_arguments_leave_with_2_and_a_usage_line(execution: Path, tmp_path: Path) -> None:
    done = _start("train", execution / "settings.json", tmp_path / "output", {}, "--colour")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m ctr_pipeline.steps.train")
    assert done.stdout == ""


def test_a_killed_step_leaves_no_record(execution: Path, tmp_path: Path) -> None:
    # It waits for its settings, so that it is surely running when it is killed.
    os.mkfifo(tmp_path / "settings.json")
    command = [sys.executable, "-m", "ctr_pipeline.steps.train", "--settings", str(tmp_path / "settings.json")]
    process = subprocess.Popen([*command, "--output", str(tmp_path / "output")], cwd=ROOT)
    with (tmp_path / "settings.json").open("w", encoding="utf-8"):
        process.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (tmp_path / "output" / "step.json").exists()
