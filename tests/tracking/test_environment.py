import dataclasses
import getpass
import sys
from pathlib import Path

import pytest

from tracking import environment
from tracking.canonical import sha256_file
from tracking.environment import Package, capture_environment, find_lock, installed_packages, normalised

LOCK = """version = 1

[[package]]
name = "numpy"
version = "2.3.0"
source = { registry = "r" }
dependencies = [{ name = "xgboost" }]

[[package]]
name = "xgboost"
version = "3.4.0"

[[package]]
name = "xgboost"
version = "3.4.1"
"""


def lock_with(tmp_path: Path, *packages: Package, needed: tuple[str, ...] = ()) -> tuple[str, ...]:
    (tmp_path / "uv.lock").write_text(LOCK)
    lock = find_lock(tmp_path, packages, must_be_locked=needed)
    assert lock is not None
    return lock.drift


def test_this_process_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    found = capture_environment(tmp_path, argv=["run", "--token", "abc"])
    assert found.python_version == ".".join(str(part) for part in sys.version_info[:3])
    assert found.argv == ("run", "--token", "[redacted]")
    assert found.variables["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in found.variables
    assert found.n_cores >= 1
    assert found.cpu
    assert found.user
    assert found.lock is None
    assert "numpy" in {package.name for package in found.packages}


def test_installed_packages_are_sorted_and_the_first_of_two_counts(tmp_path: Path) -> None:
    for name in ("a/Zeta_Two-1.0.dist-info", "a/alpha-2.0-py3.12.egg-info", "b/zeta_two-9.0.dist-info", "b/junk-info"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "beta.egg-info").mkdir()
    (tmp_path / "a" / "beta.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: beta\nVersion: 0.3\n")
    path = [str(tmp_path / name) for name in ("a", "none", "b")]
    assert installed_packages(path) == (Package("alpha", "2.0"), Package("beta", "0.3"), Package("zeta-two", "1.0"))


def test_names_are_normalised() -> None:
    assert normalised("Ruamel.yaml_Clib--x") == "ruamel-yaml-clib-x"


def test_the_nearest_lock_above_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_lock(inner, ()) is None
    (tmp_path / "uv.lock").write_text(LOCK)
    lock = find_lock(inner, ())
    assert lock is not None
    assert (lock.path, lock.sha256, lock.drift) == (tmp_path / "uv.lock", sha256_file(tmp_path / "uv.lock"), ())


def test_packages_as_locked_are_no_drift(tmp_path: Path) -> None:
    assert lock_with(tmp_path, Package("numpy", "2.3.0"), Package("xgboost", "3.4.0"), Package("pip", "26")) == ()


def test_another_version_than_the_locked_is_drift(tmp_path: Path) -> None:
    assert lock_with(tmp_path, Package("xgboost", "3.5.0")) == ("xgboost 3.5.0 (uv.lock: 3.4.0, 3.4.1)",)


def test_a_needed_package_that_the_lock_does_not_have_is_drift(tmp_path: Path) -> None:
    packages = (Package("py-arrow", "25"), Package("pip", "26"))
    assert lock_with(tmp_path, *packages, needed=("py_arrow",)) == ("py-arrow 25 (uv.lock: none)",)


class TestLockDigest:
    def test_is_the_locks_own_where_all_agrees(self, tmp_path: Path) -> None:
        (tmp_path / "uv.lock").write_text(LOCK)
        found = capture_environment(tmp_path, argv=())
        drifted = find_lock(tmp_path, (Package("xgboost", "3.5.0"),))
        agreeing = find_lock(tmp_path, (Package("xgboost", "3.4.1"),))
        locked = dataclasses.replace(found, lock=agreeing)
        assert locked.is_locked
        assert locked.lock_digest == sha256_file(tmp_path / "uv.lock")
        upgraded = dataclasses.replace(found, lock=drifted)
        assert not upgraded.is_locked
        assert upgraded.lock_digest != locked.lock_digest

    def test_is_that_of_the_installed_packages_without_a_lock(self, tmp_path: Path) -> None:
        found = capture_environment(tmp_path, argv=())
        other = dataclasses.replace(found, packages=(*found.packages, Package("zz", "1")))
        elsewhere = dataclasses.replace(found, host="other", cpu="other")
        assert not found.is_locked
        assert found.lock_digest == elsewhere.lock_digest != other.lock_digest


def test_the_processor_is_named_even_without_proc(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast CPU 9\n")
    assert environment._cpu_model(info) == "Fast CPU 9"
    assert environment._cpu_model(tmp_path / "none")


def test_gpus_are_named(tmp_path: Path) -> None:
    for index in range(2):
        (tmp_path / str(index)).mkdir()
        (tmp_path / str(index) / "information").write_text("Model: \t\t Big GPU\nIRQ: 1\n")
    assert environment.gpu_models(tmp_path) == ("Big GPU", "Big GPU")


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nameless() -> str:
        raise KeyError(10001)

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert capture_environment(tmp_path, argv=()).user.startswith("uid ")
