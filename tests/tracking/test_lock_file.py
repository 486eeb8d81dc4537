"""What a lock file says of each package, whatever place it comes from."""

from pathlib import Path
from typing import Final

import pytest

from tests.house.project import ROOT
from tracking.errors import InputError
from tracking.lock_file import LockedPackage, locked_packages

_LOCK: Final = """\
version = 1

[[package]]
name = "from-index"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
sdist = { url = "https://files.test/a.tar.gz", hash = "sha256:bb", size = 1 }
wheels = [
    { url = "https://files.test/a-1.whl", hash = "sha256:aa", size = 1 },
    { url = "https://files.test/a-2.whl", hash = "sha256:cc", size = 1 },
    { url = "https://files.test/a-3.whl", hash = "sha256:cc", size = 1 },
    { path = "a-4.whl" },
]

[[package]]
name = "from-index"
version = "2.0"
source = { registry = "http://127.0.0.1:9/own" }

[[package]]
name = "from-git"
version = "3.0"
source = { git = "https://git.test/team/repo?rev=main#0123abcd" }

[[package]]
name = "from-a-folder-of-git"
version = "3.0"
source = { git = "https://git.test/team/repo?subdirectory=packages%2Fone&rev=main#0123abcd" }

[[package]]
name = "from-url"
version = "4.0"
source = { url = "https://files.test/u.whl" }
wheels = [{ url = "https://files.test/u.whl", hash = "sha256:dd" }]

[[package]]
name = "our-own"
source = { editable = "." }

[[package]]
name = "beside"
version = "0.1"
source = { directory = "beside" }

[[package]]
name = "a-wheel"
version = "0.2"
source = { path = "wheels/a.whl" }

[[package]]
name = "not-built"
source = { virtual = "docs" }

[[package]]
name = "bare"
version = "5"
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "uv.lock"
    path.write_text(_LOCK, encoding="utf-8")
    return path


def test_a_package_of_an_index_has_the_digests_of_all_its_files_once(lock: Path) -> None:
    first, second, *_ = locked_packages(lock)
    digests = ("sha256:aa", "sha256:bb", "sha256:cc")
    assert first == LockedPackage("from-index", "1.0", "https://pypi.org/simple", None, is_local=False, hashes=digests)
    assert first.requirement == "from-index==1.0 --hash=sha256:aa --hash=sha256:bb --hash=sha256:cc"
    assert (second.version, second.index, second.requirement) == ("2.0", "http://127.0.0.1:9/own", "from-index==2.0")


@pytest.mark.parametrize(
    ("name", "requirement"),
    [
        ("from-git", "from-git @ git+https://git.test/team/repo@0123abcd"),
        (
            "from-a-folder-of-git",
            "from-a-folder-of-git @ git+https://git.test/team/repo@0123abcd#subdirectory=packages/one",
        ),
        ("from-url", "from-url @ https://files.test/u.whl --hash=sha256:dd"),
        ("bare", "bare==5"),
    ],
)
def test_a_package_from_elsewhere_is_required_from_there(lock: Path, name: str, requirement: str) -> None:
    (package,) = (package for package in locked_packages(lock) if package.name == name)
    assert package.requirement == requirement
    assert (package.index, package.is_local) == (None, False)


def test_packages_in_folders_of_the_project_are_told_apart(lock: Path) -> None:
    local = {package.name: package.version for package in locked_packages(lock) if package.is_local}
    assert local == {"our-own": "", "beside": "0.1", "a-wheel": "0.2", "not-built": ""}


def test_a_lock_of_nothing_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("version = 1\n", encoding="utf-8")
    assert locked_packages(tmp_path / "uv.lock") == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[[package", "Expected"),
        ("package = 3", "not iterable"),
        ("[[package]]\nversion = '1'\n", "'name'"),
        ("package = ['x']\n", "has no attribute"),
        (None, "No such file"),
    ],
)
def test_what_is_no_lock_file_is_refused(tmp_path: Path, content: str | None, problem: str) -> None:
    path = tmp_path / "uv.lock"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    told = rf"^lock file .*uv\.lock cannot be read \(.*{problem}.*\); restore it from the run's provenance$"
    with pytest.raises(InputError, match=told):
        locked_packages(path)


def test_the_projects_own_lock_can_be_read_whole() -> None:
    packages = locked_packages(ROOT / "uv.lock")
    assert [package.name for package in packages if package.is_local] == ["ctr-pipeline"]
    assert [package.name for package in packages if not (package.hashes or package.is_local)] == []
