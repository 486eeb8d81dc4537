"""Environments are rebuilt with the real uv: verified, built once, mended, and named where they cannot be had."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.house.project import ROOT
from tests.tracking.small_environments import PYTHON, SMALL, locked, plan_of, recorded
from tracking import rebuilt_environment
from tracking.errors import TrackingError
from tracking.rebuilt_environment import (
    FORMAT,
    STAMP_FILE,
    MissingPackagesError,
    MissingPythonError,
    RebuiltEnvironment,
    check_packages,
    find_environment,
    has_python,
    rebuild_environment,
)
from tracking.uv import UvError, run_uv

_GONE: Final = "no-such-package-anywhere-1==1.0"


@pytest.fixture(scope="module")
def index() -> None:
    """The package index, or uv's cache; a test that needs it is skipped where neither has the packages."""
    try:
        check_packages(plan_of(*(locked(name).requirement for name in SMALL)))
    except (MissingPackagesError, UvError) as error:
        pytest.skip(f"neither the package index nor uv's cache has two small packages: {error}")


@pytest.fixture(scope="module")
def built(index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one environment, to be read."""
    cache = tmp_path_factory.mktemp("environments")
    rebuild_environment(plan_of(), cache)
    return cache


def test_an_environment_holds_what_was_planned_and_nothing_else(built: Path) -> None:
    found = find_environment(plan_of(), built)
    assert found is not None
    assert found.packages == {"iniconfig": locked("iniconfig").version}
    said = subprocess.run(
        [found.python, "-I", "-c", "import iniconfig, platform; print(iniconfig.__file__, platform.python_version())"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert said == [str(found.site_packages / "iniconfig" / "__init__.py"), PYTHON]


def test_an_environment_is_built_once(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError("it was built again")

    monkeypatch.setattr(rebuilt_environment, "_build", unwanted)
    assert rebuild_environment(plan_of(), built) == find_environment(plan_of(), built)


def test_checking_installs_nothing(index: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def noted(arguments: list[str], *, cwd: Path) -> str:
        told = run_uv(arguments, cwd=cwd)
        asked.append(tuple(arguments))
        assert not list(cwd.glob("venv/lib/python*/site-packages/*.dist-info"))
        return told

    monkeypatch.setattr(rebuilt_environment, "run_uv", noted)
    check_packages(plan_of())
    assert [arguments[:2] for arguments in asked] == [("venv", "--python"), ("pip", "install")]
    assert "--dry-run" in asked[1]


@pytest.mark.usefixtures("index")
def test_every_package_that_is_gone_is_named() -> None:
    gone = f"iniconfig==0.0.999 --hash=sha256:{'0' * 64}", "platformdirs==0.0.998", _GONE
    plan = plan_of(gone[0], locked("platformdirs").requirement, other=gone[1:])
    told = (
        r"^packages of the recorded environment cannot be installed: iniconfig==0\.0\.999, platformdirs==0\.0\.998, "
        r"no-such-package-anywhere-1==1\.0; give an index that has them \(UV_DEFAULT_INDEX\), or use the current "
        r"environment explicitly with --use-current-env\.$"
    )
    with pytest.raises(MissingPackagesError, match=told) as caught:
        check_packages(plan)
    assert set(caught.value.names) == {"iniconfig==0.0.999", "platformdirs==0.0.998", _GONE}


@pytest.mark.usefixtures("index")
def test_a_file_that_is_not_the_locked_one_is_refused_and_named(tmp_path: Path) -> None:
    wrong = f"iniconfig=={locked('iniconfig').version} --hash=sha256:{'0' * 64}"
    plan = plan_of(wrong, locked("platformdirs").requirement)
    told = r"installed: iniconfig==\S+ \(the index has another file than the lock: hash mismatch\); give an index"
    with pytest.raises(MissingPackagesError, match=told):
        rebuild_environment(plan, tmp_path)
    assert find_environment(plan, tmp_path) is None


@pytest.mark.usefixtures("index")
def test_a_repository_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = f"from-git @ git+file://{tmp_path / 'gone'}@abcd"
    with pytest.raises(MissingPackagesError, match=r"cannot be installed: .*from-git @ .*gone@abcd.*; give"):
        check_packages(plan_of(other=(gone,)))


def test_an_index_that_does_not_answer_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(MissingPackagesError, match=r"cannot be installed: .*127\.0\.0\.1:9.*; give an index") as caught:
        check_packages(plan_of(indexes=("http://127.0.0.1:9/simple",)))
    assert caught.value.names == ()
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("index")
def test_tools_that_cannot_be_had_are_named_and_the_others_installed(tmp_path: Path) -> None:
    tools = (_GONE, f"platformdirs=={locked('platformdirs').version}", "iniconfig-of-nobody==3")
    found = rebuild_environment(plan_of(tools=tools), tmp_path)
    assert found.missing_tools == (tools[0], tools[2])
    assert found.packages == recorded()
    again = find_environment(plan_of(tools=tools), tmp_path)
    assert again == found


@pytest.mark.usefixtures("index")
def test_tools_are_all_given_up_where_the_index_does_not_say_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def fail(arguments: list[str], *, cwd: Path) -> str:
        if "a-tool==1" in (cwd / "requirements.txt").read_text(encoding="utf-8") if "pip" in arguments else False:
            raise UvError(arguments, "error: the index is away")
        return run_uv(arguments, cwd=cwd)

    monkeypatch.setattr(rebuilt_environment, "run_uv", fail)
    found = rebuild_environment(plan_of(tools=("a-tool==1", "b-tool==2")), tmp_path)
    assert found.missing_tools == ("a-tool==1", "b-tool==2")


def test_a_python_that_is_nowhere_is_told(tmp_path: Path) -> None:
    plan = plan_of(python_version="3.11.99")
    told = r"^Python 3\.11\.99 is not on this machine and cannot be fetched: install it, or use .* --use-current-env"
    with pytest.raises(MissingPythonError, match=told):
        rebuild_environment(plan, tmp_path)
    with pytest.raises(MissingPythonError, match=told):
        check_packages(plan)
    assert not has_python("3.11.99")


@pytest.mark.parametrize("version", ["3.13.0a1+", "no version"])
def test_a_python_of_which_uv_has_never_heard_is_nowhere(version: str) -> None:
    assert not has_python(version)


def test_this_python_is_found_without_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilt_environment, "run_uv", None)
    assert has_python(PYTHON)


@pytest.mark.parametrize("here", [True, False], ids=["on this machine", "to be fetched"])
def test_another_python_is_found_where_uv_knows_one(*, here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(arguments: list[str], *, cwd: Path) -> str:
        if arguments[1] == "list":
            return "cpython-3.11.9-linux-x86_64-gnu    <download available>\n"
        assert (cwd / ".python-version").read_text(encoding="utf-8") == "3.11.9\n"
        if here:
            return "/opt/python\n"
        raise UvError(arguments, "no interpreter found")

    monkeypatch.setattr(rebuilt_environment, "run_uv", told)
    assert has_python("3.11.9")


def test_without_uv_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilt_environment, "find_uv", lambda: None)
    monkeypatch.setattr("tracking.uv.find_uv", lambda: None)
    told = r"^uv venv --python failed: uv is not installed on this machine; install uv"
    with pytest.raises(UvError, match=told):
        rebuild_environment(plan_of(), tmp_path)
    with pytest.raises(UvError, match=told):
        check_packages(plan_of())
    with pytest.raises(UvError, match=r"^uv python list failed: uv is not installed"):
        has_python("3.11.9")


@pytest.mark.usefixtures("index")
def test_a_half_built_folder_is_begun_anew(tmp_path: Path) -> None:
    half = tmp_path / plan_of().key[:32]
    (half / "venv" / "bin").mkdir(parents=True)
    (half / "venv" / "bin" / "python").write_text("half", encoding="utf-8")
    assert find_environment(plan_of(), tmp_path) is None
    found = rebuild_environment(plan_of(), tmp_path)
    assert found.folder == half / "venv"
    assert found.packages == {"iniconfig": locked("iniconfig").version}


@pytest.mark.parametrize(
    "harm", ["deleted", "upgraded", "no python", "no stamp", "other stamp", "newer stamp", "cut stamp"]
)
@pytest.mark.usefixtures("index")
def test_an_environment_that_was_harmed_is_built_anew(tmp_path: Path, harm: str) -> None:
    plan = plan_of()
    found = rebuild_environment(plan, tmp_path)
    _harm(found, harm)
    assert find_environment(plan, tmp_path) is None
    assert rebuild_environment(plan, tmp_path).packages == {"iniconfig": locked("iniconfig").version}
    assert find_environment(plan, tmp_path) is not None


def _harm(found: RebuiltEnvironment, harm: str) -> None:
    stamp = found.folder.parent / STAMP_FILE
    values = json.loads(stamp.read_bytes())
    (metadata,) = found.site_packages.glob("iniconfig-*.dist-info")
    match harm:
        case "deleted":
            metadata.rename(found.folder / "gone")
        case "upgraded":
            metadata.rename(metadata.with_name("iniconfig-999.0.dist-info"))
        case "no python":
            found.python.unlink()
        case "no stamp":
            stamp.unlink()
        case "other stamp":
            stamp.write_text(json.dumps({**values, "key": "0" * 64}), encoding="utf-8")
        case "newer stamp":
            stamp.write_text(json.dumps({**values, "format": FORMAT + 1}), encoding="utf-8")
        case _:
            stamp.write_text("{", encoding="utf-8")


def test_what_was_installed_is_looked_at_before_it_counts_as_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilt_environment, "_pip", lambda *_: None)
    plan = plan_of()
    told = rf"^the rebuilt environment .* lacks iniconfig=={locked('iniconfig').version}; delete it and try again\.$"
    with pytest.raises(TrackingError, match=told):
        rebuild_environment(plan, tmp_path)
    assert find_environment(plan, tmp_path) is None


_BUILDER: Final = """
import sys
from pathlib import Path
from tracking import rebuilt_environment as rebuilt
from tracking.environment_plan import EnvironmentPlan

build = rebuilt._build
def noted(plan, folder):
    print("builds", flush=True)
    return build(plan, folder)

rebuilt._build = noted
print("ready", flush=True)
sys.stdin.read()
plan = EnvironmentPlan(sys.argv[2], (sys.argv[3],), (), (), ())
print(*sorted(rebuilt.rebuild_environment(plan, Path(sys.argv[1])).packages))
"""


@pytest.mark.usefixtures("index")
def test_of_several_builders_one_works_and_the_others_wait(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _BUILDER, str(tmp_path), PYTHON, locked("iniconfig").requirement]
    builders = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.close()
    told = [_rest(builder) for builder in builders]
    assert sorted(told, key=len) == ["iniconfig\n", "iniconfig\n", "builds\niniconfig\n"]


def _rest(builder: "subprocess.Popen[str]") -> str:
    with builder:
        assert builder.stdout is not None
        return builder.stdout.read()


def test_packages_of_another_python_are_found_in_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.99" / "site-packages" / "old-1.0.dist-info").mkdir(parents=True)
    found = RebuiltEnvironment(tmp_path, ())
    assert found.packages == {"old": "1.0"}
    assert RebuiltEnvironment(tmp_path / "empty", ()).packages == {}
