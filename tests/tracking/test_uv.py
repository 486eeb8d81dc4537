"""The installer is found wherever it lies; where it fails or is missing, one line says so with the remedy."""

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Final

import pytest

from tracking.uv import UvError, find_uv, run_uv

# Prints its arguments and the variables that must not reach uv; fails where it is told to.
_STAND_IN: Final = """\
#!/bin/sh
[ "$1" = fail ] && { printf 'first line\\n\\n  cause: gone  \\n3\\n4\\n5\\n6\\n7\\n' >&2; exit 2; }
[ "$1" = silent ] && exit 1
echo "$@"
echo "${VIRTUAL_ENV-unset} ${UV_PROJECT-unset} ${UV_DEFAULT_INDEX-unset}"
pwd
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is named by `UV`."""
    program = tmp_path / "own-uv"
    program.write_text(_STAND_IN, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("UV", str(program))
    return program


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without uv: neither named, nor on the path, nor a module of any Python."""
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr("tracking.uv.importlib.util.find_spec", lambda _: None)
    base = tmp_path / "base-python"
    base.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    base.chmod(0o755)
    monkeypatch.setattr(sys, "_base_executable", str(base))
    return base


def test_the_one_that_is_named_comes_first(stand_in: Path) -> None:
    assert find_uv() == (str(stand_in),)


def test_a_name_of_nothing_is_passed_over_for_the_one_on_the_path(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV", str(stand_in.with_name("gone")))
    monkeypatch.setenv("PATH", str(stand_in.parent))
    stand_in.rename(stand_in.with_name("uv"))
    assert find_uv() == (str(stand_in.with_name("uv")),)


def test_without_a_program_the_module_of_this_python_serves(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracking.uv.importlib.util.find_spec", lambda name: ModuleSpec(name, None))
    assert find_uv() == (sys.executable, "-m", "uv")


def test_else_the_module_of_the_python_that_this_environment_was_made_from_serves(nowhere: Path) -> None:
    nowhere.write_text('#!/bin/sh\n[ "$*" = "-m uv --version" ]\n', encoding="utf-8")
    assert find_uv() == (str(nowhere), "-m", "uv")


def test_where_there_is_none_one_line_says_how_to_get_it(nowhere: Path, tmp_path: Path) -> None:
    assert find_uv() is None
    told = r"^uv venv --python failed: uv is not installed on this machine; install uv \(`python -m pip install uv`\)$"
    with pytest.raises(UvError, match=told):
        run_uv(["venv", "--python", "3.12.1"], cwd=tmp_path)


def test_a_command_runs_where_it_is_told_and_apart_from_this_environment(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", "/mine")
    monkeypatch.setenv("UV_PROJECT", "/mine")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1/index")
    told = run_uv(["venv", "x"], cwd=tmp_path)
    assert told.splitlines() == ["venv x --no-progress", "unset unset http://127.0.0.1/index", str(tmp_path)]


def test_a_failure_is_told_in_one_line_and_kept_whole(stand_in: Path, tmp_path: Path) -> None:
    with pytest.raises(UvError, match=r"^uv fail it failed: first line cause: gone 3 4 5 6$") as caught:
        run_uv(["fail", "it", "again"], cwd=tmp_path)
    assert caught.value.said.endswith("7\n")
    assert caught.value.exit_code == 1


def test_a_failure_in_silence_is_told(stand_in: Path, tmp_path: Path) -> None:
    with pytest.raises(UvError, match=r"^uv silent failed: it said nothing$"):
        run_uv(["silent"], cwd=tmp_path)


def test_a_command_that_takes_too_long_is_ended(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expired(command: list[str], **asked: Any) -> None:  # noqa: ANN401 - as subprocess.run takes them
        raise subprocess.TimeoutExpired(command, asked["timeout"])

    monkeypatch.setattr("tracking.uv.subprocess.run", expired)
    with pytest.raises(UvError, match=r"^uv hang failed: it takes longer than 1800 s$"):
        run_uv(["hang"], cwd=tmp_path)
