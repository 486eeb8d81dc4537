"""A model carries the sources of its custom function, all that it needs and nothing else."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctr_pipeline.features.carried_code import CODE_FOLDER, carry_code, imported_modules, use_carried_code
from ctr_pipeline.features.custom import load_function
from tracking.errors import InputError

_TEAM = ("team_features", "team_shared", "team_lonely")
_FILES = {
    "team_features/__init__.py": "",
    "team_features/bands.py": """
import json

import numpy
import pyarrow.compute as pc

import team_shared
from . import late_cousin


def add(batch):
    return batch.append_column("band", pc.add(batch["a"], team_shared.STEP))
""",
    "team_features/late_cousin.py": "from __future__ import annotations",
    "team_features/bounds.json": "[1]",
    "team_features/ads.csv": "ad",
    "team_features/.secret.json": "[1]",
    "team_features/__pycache__/bands.cpython-312.pyc": "stale",
    "team_features/big.bin": "no source",
    "team_shared.py": "STEP = 1\n",
    "team_lonely.py": "nobody imports it",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A team's source tree, first on the path; what was loaded from it is forgotten afterwards."""
    root = tmp_path / "tree"
    for name, content in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(root), *sys.path])
    yield root
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in _TEAM]:
        del sys.modules[name]


def _carried(model: Path) -> set[str]:
    return {
        path.relative_to(model / CODE_FOLDER).as_posix() for path in (model / CODE_FOLDER).rglob("*") if path.is_file()
    }


@pytest.fixture
def model(tree: Path, tmp_path: Path) -> Path:
    """A model folder that carries the tree's code."""
    load_function("features.custom", "team_features.bands:add")
    carry_code("team_features.bands:add", tmp_path / "model")
    return tmp_path / "model"


def test_what_the_function_has_loaded_from_its_tree_is_carried(model: Path) -> None:
    assert _carried(model) == {
        "team_features/__init__.py",
        "team_features/bands.py",
        "team_features/late_cousin.py",
        "team_features/bounds.json",
        "team_features/ads.csv",
        "team_shared.py",
    }


def test_a_package_without_an_init_file_is_carried_too(tree: Path, tmp_path: Path) -> None:
    (tree / "team_features" / "__init__.py").unlink()
    load_function("features.custom", "team_features.bands:add")
    carry_code("team_features.bands:add", tmp_path / "model")
    assert "team_features/bands.py" in _carried(tmp_path / "model")


def test_an_installed_module_is_pinned_and_not_carried(tmp_path: Path) -> None:
    carry_code("pyarrow.compute:add", tmp_path)
    assert not (tmp_path / CODE_FOLDER).exists()
    assert imported_modules("pyarrow.compute:add", tmp_path) == {"pyarrow"}


def test_a_built_in_module_is_not_carried(tmp_path: Path) -> None:
    carry_code("sys:exit", tmp_path)
    assert not (tmp_path / CODE_FOLDER).exists()


def test_our_own_packages_are_not_carried(tmp_path: Path) -> None:
    load_function("features.custom", "ctr_pipeline.features.custom:apply_custom")
    carry_code("ctr_pipeline.features.custom:apply_custom", tmp_path)
    assert not any(name.startswith(("ctr_pipeline/", "tracking/")) for name in _carried(tmp_path))


def test_what_the_carried_sources_import_is_known_without_running_them(model: Path) -> None:
    assert imported_modules("team_features.bands:add", model) == {"numpy", "pyarrow"}


def test_the_model_scores_in_a_process_that_has_never_seen_the_tree(model: Path, tree: Path, tmp_path: Path) -> None:
    tree.rename(tmp_path / "gone")
    script = (
        "import sys, pathlib, pyarrow as pa\n"
        "from ctr_pipeline.features.carried_code import use_carried_code\n"
        "from ctr_pipeline.features.custom import apply_custom\n"
        "use_carried_code('team_features.bands:add', pathlib.Path(sys.argv[1]))\n"
        "print(apply_custom('team_features.bands:add', pa.table({'a': [1]}), 'click')['band'].to_pylist())\n"
        "print(sys.modules['team_shared'].__file__)\n"
    )
    before = _carried(model)
    command = [sys.executable, "-c", script, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["[2]", str(model / CODE_FOLDER / "team_shared.py")]
    assert _carried(model) == before


def test_the_same_code_loaded_from_elsewhere_will_do(model: Path) -> None:
    use_carried_code("team_features.bands:add", model)
    use_carried_code("team_features.bands:add", model)
    assert sys.path.count(str(model / CODE_FOLDER)) == 1


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("team_shared.py", "team_shared"),
        ("team_features/bands.py", "team_features"),
        ("team_features/ads.csv", "team_features"),
    ],
)
def test_another_version_of_the_code_in_this_process_is_refused(model: Path, file: str, module: str) -> None:
    with (model / CODE_FOLDER / file).open("a", encoding="utf-8") as source:
        source.write("# newer\n")
    message = (
        f"model carries another version of module '{module}' than this process has loaded from .*tree, must be the s"
    )
    with pytest.raises(InputError, match=message):
        use_carried_code("team_features.bands:add", model)


def test_two_versions_of_a_model_do_not_score_in_one_process(model: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(model, tmp_path / "other"))
    (other / CODE_FOLDER / "team_shared.py").write_text("STEP = 2\n", encoding="utf-8")
    _forget()
    use_carried_code("team_features.bands:add", model)
    with pytest.raises(
        InputError, match=r"other carries another version of module 'team_shared' than this process has"
    ):
        use_carried_code("team_features.bands:add", other)


def test_a_model_without_carried_code_changes_nothing(tmp_path: Path) -> None:
    before = list(sys.path)
    use_carried_code("team_features.bands:add", tmp_path)
    assert sys.path == before


def test_a_single_module_brings_the_files_that_it_names(tree: Path, tmp_path: Path) -> None:
    (tree / "team_lonely.py").write_text("OTHER = 'other.sql'\n", encoding="utf-8")
    (tree / "sql").mkdir()
    (tree / "sql" / "step.sql").write_text("1", encoding="utf-8")
    (tree / "other.sql").write_text("2", encoding="utf-8")
    (tree / "team_shared.py").write_text(
        "from pathlib import Path\n\nSTEP = int(Path(__file__).with_name('sql').joinpath('step.sql').read_text())\n\n\n"
        "def add(batch):\n    return batch\n",
        encoding="utf-8",
    )
    load_function("features.custom", "team_shared:add")
    carry_code("team_shared:add", tmp_path / "model")
    assert _carried(tmp_path / "model") == {"team_shared.py", "sql/step.sql"}
    (tree / "sql" / "step.sql").write_text("3", encoding="utf-8")
    with pytest.raises(InputError, match="carries another version of module 'team_shared'"):
        use_carried_code("team_shared:add", tmp_path / "model")
