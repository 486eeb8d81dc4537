"""What is looked up before a run: its own code wherever it lies, and settings that may be kept."""

from pathlib import Path

import pytest

from ctr_pipeline.config_file import LoadedSettings, load_settings
from ctr_pipeline.workflows.execution import Home
from ctr_pipeline.workflows.preparation import PreparedRun, prepare_run
from ctr_pipeline.workflows.provenance import WITHHELD_VALUE, capture, find_tree
from tests.plugins.run_fixtures import write_log
from tests.tracking.repository import Repository
from tracking.recipe import Recipe
from tracking.secrets import SecretFoundError

WORD = "w0rd-of-ann"
CONFIG = """\
name: tiny
data:
  uri: {log}
  columns:
    label: click
    time: shown_at
    user: user
    numeric: [price]
    categorical: [ad]
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A project with a tiny log and a home of another name inside it."""
    repository = Repository(tmp_path / "project")
    log = write_log(tmp_path / "log.csv", n_rows=20)
    repository.write("run.yaml", CONFIG.format(log=log))
    repository.commit()
    monkeypatch.setenv("CTR_HOME", str(repository.root / "kept"))
    return repository


def loaded_from(repository: Repository, more: str, environment: dict[str, str]) -> LoadedSettings:
    config = repository.write("run.yaml", (repository.root / "run.yaml").read_text() + more)
    repository.commit()
    return load_settings(config, environment=environment)


def prepared(repository: Repository, loaded: LoadedSettings) -> PreparedRun:
    return prepare_run(loaded, start=repository.root, argv=["ctr-pipeline", "run"], started_ms=1_800_000_000_000)


def test_a_password_in_the_tracking_uri_is_nowhere_in_what_is_kept(repository: Repository) -> None:
    loaded = loaded_from(
        repository,
        'tracking: {uri: "http://${env:TRACKING_USER}:${env:MLFLOW_PW}@tracker:5000", experiment: "of-${env:TEAM}"}\n',
        {"TRACKING_USER": "ann", "MLFLOW_PW": WORD, "TEAM": "ads"},
    )
    run = prepared(repository, loaded)
    kept = [path for path in run.home.path.rglob("*") if path.is_file()]
    assert run.folder.settings in kept
    assert [path for path in kept if WORD.encode() in path.read_bytes()] == []
    assert '"uri": "http://tracker:5000"' in run.folder.settings.read_text()
    recipe = Recipe.from_json(run.folder.recipe.read_bytes())
    assert recipe.circumstances.config_variables == {
        "TRACKING_USER": WITHHELD_VALUE,
        "MLFLOW_PW": WITHHELD_VALUE,
        "TEAM": "ads",
    }


def test_a_number_from_a_variable_is_recorded(repository: Repository) -> None:
    loaded = loaded_from(repository, "", {})
    with_rounds = LoadedSettings(loaded.settings, loaded.files, (), {"SEED": "7", "PIN": "4711"})
    recipe = prepared(repository, with_rounds).recipe
    assert recipe.circumstances.config_variables == {"SEED": "7", "PIN": WITHHELD_VALUE}


def test_the_tracker_is_still_opened_with_its_credentials(repository: Repository) -> None:
    loaded = loaded_from(repository, 'tracking: {uri: "http://ann:${env:PW}@tracker"}\n', {"PW": WORD})
    prepared(repository, loaded)
    assert loaded.settings.tracking.uri == f"http://ann:{WORD}@tracker"


def test_a_secret_in_another_setting_stops_the_run_and_names_the_key(repository: Repository) -> None:
    loaded = loaded_from(repository, "", {})
    data = loaded.settings.data.model_copy(update={"uri": f"s3://ann:{WORD}@bucket/log.csv"})
    loaded = LoadedSettings(loaded.settings.model_copy(update={"data": data}), loaded.files, (), {})
    with pytest.raises(SecretFoundError, match=r"^setting data\.uri: password in a URL: a secret must not be kept"):
        prepared(repository, loaded)
    assert not Home.find(repository.root).path.exists()


def test_a_home_inside_the_repository_leaves_it_clean(repository: Repository) -> None:
    loaded = loaded_from(repository, "", {})
    for _ in range(2):
        assert prepared(repository, loaded).execution.tags["git.dirty"] == "false"


def test_own_code_outside_the_tree_is_in_the_digest_and_in_the_snapshot(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "elsewhere" / "demo_team"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "feat.py").write_text("STEP = 1\n")
    monkeypatch.syspath_prepend(package.parent)
    loaded = loaded_from(repository, 'features: {custom: "demo_team.feat:add"}\n', {})
    tree = find_tree(repository.root, loaded.settings.resolved())
    first = capture(tree, loaded, ["run"], tmp_path / "one", tmp_path / "cache")
    (package / "feat.py").write_text("STEP = 2\n")
    second = capture(tree, loaded, ["run"], tmp_path / "two", tmp_path / "cache")
    assert "site/demo_team/feat.py" in {file.member for file in first.snapshot.files}
    assert first.code_digest != second.code_digest
    assert first.snapshot.digest != second.snapshot.digest
