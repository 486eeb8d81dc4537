"""A rebuilt environment holds what its wheels list, and one that was touched since is built anew."""

import base64
import hashlib
import os
import platform
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import filelock
import pytest

from tracking import rebuilt_environment
from tracking.environment_plan import EnvironmentPlan
from tracking.environment_proof import DamagedPackageError, fingerprint, installed_files, prove_packages
from tracking.errors import TrackingError
from tracking.rebuilt_environment import (
    FORMAT,
    STAMP_FILE,
    MissingPackagesError,
    check_packages,
    find_environment,
    rebuild_environment,
)
from tracking.uv import find_uv, run_uv

_CODE: Final = b"FLOOR = 1\n"
_needs_uv: Final = pytest.mark.skipif(find_uv() is None, reason="uv is not installed")


def _record(files: Mapping[str, bytes], own: str) -> bytes:
    def digest(content: bytes) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

    lines = [f"{name},sha256={digest(content)},{len(content)}" for name, content in files.items()]
    return "\n".join([*lines, f"{own},,", ""]).encode()


def _files(name: str, code: bytes = _CODE) -> dict[str, bytes]:
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    return {**files, f"{info}/RECORD": _record(files, f"{info}/RECORD")}


def _lay(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of packages with one that is as its wheel lists it."""
    folder = tmp_path / "venv" / "lib" / "python3.12" / "site-packages"
    _lay(folder, _files("tiny"))
    _lay(tmp_path / "venv", {"bin/python": b"python", "pyvenv.cfg": b"home = here\n"})
    return folder


def test_packages_as_their_wheels_list_them_are_accepted_with_what_was_there_before(packages: Path) -> None:
    _lay(packages, {"_virtualenv.pth": b"import _virtualenv", "_virtualenv.py": b""})
    _lay(packages, {"tiny/__pycache__/__init__.cpython-312.pyc": b"bytecode"})
    prove_packages(packages, beside=["_virtualenv.pth", "_virtualenv.py"])


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (
            {"tiny/__init__.py": _CODE + b"FLOOR = 2\n"},
            r"package tiny: tiny/__init__\.py is not the file .* tiny`",
        ),
        ({"tiny/__init__.py": None}, r"package tiny: tiny/__init__\.py is gone; run `uv cache clean tiny`, then again"),
        ({"evil.pth": b"import evil"}, r"the rebuilt environment: evil\.pth is in no wheel's .*; run `uv cache clean`"),
        (
            {"tiny/more.py": b""},
            r"package tiny: tiny/more\.py is in no wheel's list of files; run `.* tiny`",
        ),
        ({"tiny/more.pyc": b""}, r"package tiny: tiny/more\.pyc is in no wheel's list"),
        ({"extra_pkg-9.9.dist-info/METADATA": b""}, r"package extra-pkg: extra_pkg-9\.9\.dist-info/METADATA is in no"),
        ({"a.pth": b"", "b.pth": b""}, r"a\.pth is in no wheel's list of files \(and 1 more files\); run"),
    ],
    ids=["edited", "deleted", "pth", "more code", "sourceless bytecode", "another package", "two"],
)
def test_a_file_that_is_not_as_listed_is_named_in_one_line(
    packages: Path, harm: Mapping[str, bytes | None], told: str
) -> None:
    for name, content in harm.items():
        if content is None:
            (packages / name).unlink()
        else:
            _lay(packages, {name: content})
    with pytest.raises(DamagedPackageError, match=rf"^[^\n]*{told}[^\n]*$"):
        prove_packages(packages)


def test_a_file_of_two_packages_is_right_where_one_of_them_lists_it_so(packages: Path) -> None:
    other = _files("other")
    other.pop("other/__init__.py")
    listed = {**other, "tiny/__init__.py": b"of the other"}
    listed.pop("other-1.0.dist-info/RECORD")
    own = "other-1.0.dist-info/RECORD"
    _lay(packages, {**{name: content for name, content in other.items() if name != own}, own: _record(listed, own)})
    prove_packages(packages)
    (packages / "tiny" / "__init__.py").write_bytes(b"of nobody")
    with pytest.raises(DamagedPackageError, match="is not the file that its wheel lists") as caught:
        prove_packages(packages)
    assert caught.value.file == "tiny/__init__.py"


def test_a_file_without_a_digest_must_only_be_there(packages: Path) -> None:
    with (packages / "tiny-1.0.dist-info" / "RECORD").open("a") as record:
        record.write("tiny/made.txt,,\n\ntiny/old.txt,md5=abc,3\n")
    _lay(packages, {"tiny/made.txt": b"anything", "tiny/old.txt": b"old"})
    prove_packages(packages)


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"# more\n")


def _same_size(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))


def _link(path: Path) -> None:
    content = path.with_name("moved.bin")
    path.rename(content)
    path.symlink_to(content.name)


@pytest.mark.parametrize("harm", [_append, _same_size, Path.unlink, _link], ids=["longer", "as long", "gone", "a link"])
@pytest.mark.parametrize(
    "file", ["lib/python3.12/site-packages/tiny/__init__.py", "bin/python", "pyvenv.cfg"], ids=["code", "python", "cfg"]
)
def test_every_touched_file_changes_the_fingerprint_or_leaves_none(
    packages: Path, harm: Callable[[Path], None], file: str
) -> None:
    venv = packages.parents[2]
    before = fingerprint(venv, packages)
    assert fingerprint(venv, packages) == before
    harm(venv / file)
    try:
        after = fingerprint(venv, packages)
    except FileNotFoundError:
        after = ""
    if not (harm is _link and file == "pyvenv.cfg"):  # what it leads to counts, and that is the same
        assert after != before


@pytest.mark.parametrize("name", ["evil.pth", "extra_pkg-9.9.dist-info/METADATA", "tiny/more.pyc"])
def test_every_new_file_changes_the_fingerprint_but_bytecode(packages: Path, name: str) -> None:
    venv = packages.parents[2]
    before, files = fingerprint(venv, packages), installed_files(packages)
    _lay(packages, {"tiny/__pycache__/__init__.cpython-312.pyc": b"bytecode"})
    assert (fingerprint(venv, packages), installed_files(packages)) == (before, files)
    _lay(packages, {name: b"new"})
    assert fingerprint(venv, packages) != before
    assert installed_files(packages) == files | {name}


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EnvironmentPlan:
    """A plan with one package, which lies in a file; uv has a cache of its own."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in _files("tiny").items():
            archive.writestr(name, content)
    return EnvironmentPlan(platform.python_version(), (), (f"tiny @ {wheel.as_uri()}",), (), ())


@_needs_uv
def test_an_environment_that_was_tampered_with_is_built_anew(plan: EnvironmentPlan, tmp_path: Path) -> None:
    found = rebuild_environment(plan, tmp_path / "cache")
    assert find_environment(plan, tmp_path / "cache") == found
    code = found.site_packages / "tiny" / "__init__.py"
    code.unlink()
    _lay(found.site_packages, {"tiny/__init__.py": b"FLOOR = 9\n", "evil.pth": b"import evil"})
    assert find_environment(plan, tmp_path / "cache") is None
    assert rebuild_environment(plan, tmp_path / "cache") == found
    assert code.read_bytes() == _CODE
    assert not (found.site_packages / "evil.pth").exists()


@_needs_uv
def test_a_file_that_was_edited_in_uvs_cache_is_refused_until_the_cache_is_cleaned(
    plan: EnvironmentPlan, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    rebuild_environment(plan, cache)
    copies = list((tmp_path / "uv").glob("archive-v*/**/tiny/__init__.py"))
    assert len(copies) == 1
    _append(copies[0])
    (cache / plan.key[:32] / STAMP_FILE).unlink()
    with pytest.raises(DamagedPackageError, match=r"^package tiny: tiny/__init__\.py .*run `uv cache clean tiny`"):
        rebuild_environment(plan, cache)
    assert find_environment(plan, cache) is None
    run_uv(["cache", "clean", "tiny"], cwd=tmp_path)
    assert (rebuild_environment(plan, cache).site_packages / "tiny" / "__init__.py").read_bytes() == _CODE


@_needs_uv
def test_a_stamp_of_the_older_format_is_not_trusted(plan: EnvironmentPlan, tmp_path: Path) -> None:
    found = rebuild_environment(plan, tmp_path)
    stamp = found.folder.parent / STAMP_FILE
    stamp.write_text(stamp.read_text(encoding="utf-8").replace(f'"format":{FORMAT}', '"format":1'), encoding="utf-8")
    assert find_environment(plan, tmp_path) is None


def test_a_lock_that_is_never_released_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilt_environment, "_LONGEST_WAIT_S", 0)
    plan = EnvironmentPlan("3.12.1", (), (), (), ())
    told = r"^environment .* has been locked by another process for 0 s, .*: let that process finish or end it, then"
    with filelock.FileLock(tmp_path / f"{plan.key[:32]}.lock"), pytest.raises(TrackingError, match=told):
        rebuild_environment(plan, tmp_path)


def test_what_came_from_no_index_is_never_asked_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilt_environment, "run_uv", None)
    plan = EnvironmentPlan("3.12.1", (), (), (), (), unobtainable=("own==1 (from file:///own)",))
    told = r"cannot be installed: own==1 \(from file:///own\); they came from no index .* --use-current-env\.$"
    for ask in (check_packages, lambda plan: rebuild_environment(plan, tmp_path)):
        with pytest.raises(MissingPackagesError, match=told):
            ask(plan)


@_needs_uv
def test_tools_that_came_from_no_index_are_told_as_missing(plan: EnvironmentPlan, tmp_path: Path) -> None:
    lost = EnvironmentPlan(plan.python_version, (), plan.other, (), (), lost_tools=("own==1 (from file:///own)",))
    assert rebuild_environment(lost, tmp_path).missing_tools == lost.lost_tools
    assert find_environment(lost, tmp_path) == rebuild_environment(lost, tmp_path)
    assert lost.key == plan.key
