"""An execution's driver is told from a later process with the same number, whatever the clock does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.workflows import execution
from ctr_pipeline.workflows.execution import Execution, ExecutionFolder, Process


@pytest.fixture
def without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system without Linux's ids of its own start."""
    monkeypatch.setattr(execution, "_BOOT_ID", tmp_path / "nowhere")


def test_a_process_lives_on_when_the_clock_is_corrected() -> None:
    this = Process.current()
    assert this.ticks is not None
    assert this.boot is not None
    assert replace(this, began=this.began - 3_600).is_alive()


def test_a_later_process_with_the_same_number_is_another() -> None:
    this = Process.current()
    assert not replace(this, ticks=0).is_alive()
    assert not replace(this, boot="before").is_alive()
    assert not replace(this, pid=2**22 + 1).is_alive()


def test_a_process_of_another_machine_is_taken_to_live() -> None:
    assert replace(Process.current(), host="elsewhere", pid=2**22 + 1).is_alive()


def test_a_process_that_was_killed_and_not_reaped_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        began = execution._start_ticks(child.pid)
        process = replace(Process.current(), pid=child.pid, ticks=began)
        assert process.is_alive()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process.is_alive()


@pytest.mark.usefixtures("without_proc")
def test_elsewhere_than_on_linux_the_clock_may_move_a_little() -> None:
    this = Process.current()
    assert this.boot is None
    assert replace(this, began=this.began + 1.5).is_alive()
    assert not replace(this, began=this.began - 60).is_alive()
    assert not replace(this, pid=2**22 + 1).is_alive()


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    folder = ExecutionFolder(tmp_path)
    folder.save(Execution("id", "name", "ctr", "sqlite:///a.db", 1, Process.current()))
    values = json.loads((tmp_path / "execution.json").read_bytes())
    del values["process"]["ticks"], values["process"]["boot"]
    (tmp_path / "execution.json").write_text(json.dumps(values), encoding="utf-8")
    read = folder.load()
    assert read.process.ticks is None
    assert not read.was_left
    assert replace(read, process=replace(read.process, began=0.0)).was_left
