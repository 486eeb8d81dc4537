"""What every source file, the version and the lock keep to."""

import io
import os
import re
import shutil
import sys
import tokenize
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.house.project import PACKAGES, ROOT, pyproject, run_tool, source_files

_LONGEST = 350
_UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
# An exception from a rule; whatever follows its codes is the reason.
_CODES = r"(: ?[A-Z]+\d+(, ?[A-Z]+\d+)*|\[[\w, -]+\])?"
_EXCEPTION = re.compile(rf"#\s*(noqa|type: ignore|pragma: no (cover|branch)){_CODES}(?P<reason>.*)")


def _uv() -> str:
    # `uv run` sets UV; whoever starts pytest from the environment itself may have uv on the path.
    found = os.environ.get("UV") or shutil.which("uv")
    if found is None:
        pytest.skip("uv is not on the path; run the tests through `python3 -m uv run pytest`")
    return found


def _comments(file: Path) -> list[tuple[int, str]]:
    tokens = tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline)
    return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]


def test_no_source_file_is_longer_than_350_lines() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in source_files()}
    assert {str(file.relative_to(ROOT)): length for file, length in lengths.items() if length > _LONGEST} == {}


def test_nothing_is_left_to_do() -> None:
    unfinished = [
        f"{file.relative_to(ROOT)}:{line} {comment}"
        for file in source_files()
        for line, comment in _comments(file)
        if _UNFINISHED.search(comment)
    ]
    assert unfinished == []


def test_every_exception_from_a_rule_gives_its_reason() -> None:
    unexplained = [
        f"{file.relative_to(ROOT)}:{line} {comment}"
        for file in source_files()
        for line, comment in _comments(file)
        if not _is_explained(comment)
    ]
    assert unexplained == []


def _is_explained(comment: str) -> bool:
    found = _EXCEPTION.search(comment)
    if found is None:
        return True
    return re.search(r"[A-Za-z]{2,}", found["reason"]) is not None


@pytest.mark.parametrize(
    ("comment", "explained"),
    [
        ("# a plain remark", True),
        ("# noqa: S301, ANN401", False),
        ("# type: ignore[arg-type]", False),
        ("# pragma: no cover", False),
        ("# noqa: S301 - read by its own writer only", True),
        ("# type: ignore[arg-type] # socket checks the address itself", True),
        ("# pragma: no cover - runs in the child only", True),
    ],
)
def test_a_reason_is_recognised(comment: str, *, explained: bool) -> None:
    assert _is_explained(comment) is explained


def test_the_version_stands_in_pyproject_alone() -> None:
    version = pyproject()["project"]["version"]
    assert metadata.version("ctr-pipeline") == version
    literal = re.compile(rf"""__version__\s*=|version\s*=\s*["']{re.escape(version)}["']""")
    packaged = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    assert [str(file) for file in packaged if literal.search(file.read_text(encoding="utf-8"))] == []


def test_the_lock_fits_the_project() -> None:
    checked = run_tool([_uv(), "lock", "--check", "--offline"], ROOT)
    assert checked.returncode == 0, checked.stderr


def test_the_lock_names_public_registries_only() -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text(encoding="utf-8")))
    assert hosts == {"files.pythonhosted.org", "pypi.org"}


def test_the_licence_is_the_whole_apache_text() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "2008.07146" in (ROOT / "NOTICE").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_wheel_has_the_samples_the_types_and_the_licence(tmp_path: Path) -> None:
    built = run_tool([_uv(), "build", "--wheel", "--offline", "--quiet", "--out-dir", str(tmp_path)], ROOT)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    samples = {file.name for file in (ROOT / "ctr_pipeline" / "data" / "samples").iterdir() if file.is_file()}
    assert any(name.endswith(".parquet") for name in samples)
    packed = {Path(name).name for name in names if name.startswith("ctr_pipeline/data/samples/")}
    assert samples <= packed
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert {Path(name).parts[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)


def test_the_script_of_ci_is_bash_and_executable() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert run_tool(["bash", "-n", str(script)], ROOT).returncode == 0


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    records = [file.name for file in sorted(folder.glob("[0-9]*.md"))]
    assert [name for name in records if f"({name})" not in index] == []


def test_pre_commit_runs_the_locked_tools() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"repo: (\S+)", text)) == {"local"}
    assert all(entry.startswith("uv ") for entry in re.findall(r"entry: (.+)", text))


def test_the_locked_tools_judge_the_python_that_is_declared() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    assert settings["tool"]["mypy"]["python_version"] == declared
    assert settings["tool"]["ruff"]["target-version"] == f"py{declared.replace('.', '')}"
    assert settings["project"]["requires-python"].startswith(f">={declared}")
    assert sys.version_info >= tuple(int(part) for part in declared.split("."))
