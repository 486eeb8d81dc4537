from collections.abc import Callable
from pathlib import Path

import pytest

from ctr_pipeline.config import Settings
from ctr_pipeline.config_file import _Source, known_keys, load_settings
from tracking.errors import InputError

TIMED = "data: {columns: {time: t}}\n"


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a config file, preceded by a time column so that the default split has one."""

    def write(text: str, name: str = "config.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_without_a_file_the_bundled_sample_is_run() -> None:
    loaded = load_settings(None)
    assert loaded.settings.data.uri == "sample:open_bandit"
    assert loaded.files == ("sample:open_bandit",)
    assert loaded.settings.data.columns.propensity not in loaded.settings.data.columns.features
    assert loaded.settings.data.columns.context["position"].pinned == 2


def test_the_config_of_the_repository_is_the_bundled_one() -> None:
    loaded = load_settings("configs/default.yaml")
    assert loaded.settings == load_settings(None).settings
    assert loaded.files == ("sample:open_bandit", "configs/default.yaml")


def test_the_sample_with_users_is_bundled_too() -> None:
    assert load_settings("sample:simulated_users").settings.data.columns.user == "user_id"


def test_an_include_is_laid_under_the_including_file(config: Callable[..., Path]) -> None:
    config("seed: 1\nname: below\ntrain: {max_depth: 3, rounds: 9}\n" + TIMED, "below.yaml")
    config("include: [below.yaml]\nseed: 2\n", "middle.yaml")
    loaded = load_settings(config("include: middle.yaml\ntrain: {max_depth: 4}\n", "top.yaml"))
    settings = loaded.settings
    assert (settings.seed, settings.name, settings.train.max_depth, settings.train.rounds) == (2, "below", 4, 9)
    assert [Path(file).name for file in loaded.files] == ["below.yaml", "middle.yaml", "top.yaml"]


def test_a_later_include_goes_over_an_earlier_one(config: Callable[..., Path]) -> None:
    config("seed: 1\n" + TIMED, "a.yaml")
    config("seed: 2\n", "b.yaml")
    assert load_settings(config("include: [a.yaml, b.yaml]\n")).settings.seed == 2


def test_a_cycle_of_includes_is_named(config: Callable[..., Path]) -> None:
    config("include: b.yaml\n", "a.yaml")
    config("include: a.yaml\n", "b.yaml")
    with pytest.raises(
        InputError, match=r"a\.yaml: includes itself through .*a\.yaml -> .*b\.yaml -> .*a\.yaml; remove one"
    ):
        load_settings(config("include: b.yaml\n", "a.yaml"))


def test_environment_variables_are_resolved_and_recorded(config: Callable[..., Path]) -> None:
    text = TIMED + "name: '${env:TEAM}-${env:AREA:-all}'\ntracking: {uri: '${env:URI:-}x'}\n"
    loaded = load_settings(config(text), ["train.monotone={'${env:TEAM}': 1}"], {"TEAM": "ads", "UNUSED": "x"})
    assert (loaded.settings.name, loaded.settings.tracking.uri) == ("ads-all", "x")
    assert loaded.environment == {"AREA": "all", "TEAM": "ads", "URI": ""}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("true", True),
        ("", None),
        ("null", None),
        ("'123'", "123"),
        ("ads", "ads"),
        ("7 # seven", "7 # seven"),
        ("#secret", "#secret"),
        ("a: b", "a: b"),
        ("[a", "[a"),
        ("2026-03-01", "2026-03-01"),
    ],
)
def test_a_text_that_is_one_variable_is_read_as_a_yaml_scalar(text: str, value: object) -> None:
    assert _Source({"X": text}).resolve({"a": "${env:X}", "b": "-${env:X}"}, "f") == {"a": value, "b": f"-{text}"}


def test_numbers_may_come_from_the_environment(config: Callable[..., Path]) -> None:
    text = TIMED + "seed: ${env:SEED}\ntrain: {learning_rate: '${env:RATE:-0.5}'}\n"
    settings = load_settings(config(text), ["train.max_depth=${env:DEPTH}"], {"SEED": "9", "DEPTH": "4"}).settings
    assert (settings.seed, settings.train.learning_rate, settings.train.max_depth) == (9, 0.5, 4)


def test_an_include_may_depend_on_the_environment(config: Callable[..., Path]) -> None:
    config("seed: 5\n" + TIMED, "prod.yaml")
    assert load_settings(config("include: '${env:STAGE}.yaml'\n"), (), {"STAGE": "prod"}).settings.seed == 5


def test_a_variable_that_is_not_set_is_refused(config: Callable[..., Path]) -> None:
    message = r"config\.yaml: environment variable TEAM is not set, must be; export it or write \$\{env:TEAM:-default\}"
    with pytest.raises(InputError, match=message):
        load_settings(config("name: ${env:TEAM}\n"), (), {})
    with pytest.raises(InputError, match=r"^--set: environment variable TEAM is not set"):
        load_settings(config(TIMED), ["name=${env:TEAM}"], {})


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.max_depth=4", 4),
        ("train.early_stopping_rounds=null", None),
        ("train.monotone={price: 1}", {"price": 1}),
        ("evaluate.lift_at=[0.5]", (0.5,)),
        ("name=a=b", "a=b"),
        ("split.end=2026-03-01", "2026-03-01"),
        ("split.end=2026-03-01T10:00:00", "2026-03-01T10:00:00"),
    ],
)
def test_set_lays_one_value_over_the_file(config: Callable[..., Path], override: str, value: object) -> None:
    loaded = load_settings(config(TIMED), [override])
    found: object = loaded.settings
    for part in override.partition("=")[0].split("."):
        found = getattr(found, part)
    assert found == value
    assert loaded.overrides == (override,)


def test_set_goes_deep_without_touching_the_rest(config: Callable[..., Path]) -> None:
    settings = load_settings(
        config(TIMED + "train: {rounds: 5}\n"), ["train.max_depth=4", "train.max_depth=5"]
    ).settings
    assert (settings.train.rounds, settings.train.max_depth) == (5, 5)


@pytest.mark.parametrize("written", ["2026-03-05", "2026-03-05T00:00:00", "'2026-03-05'"])
def test_a_date_in_yaml_is_an_instant(config: Callable[..., Path], written: str) -> None:
    end = load_settings(config(TIMED + f"split: {{end: {written}}}\nas_of: {written}\n")).settings.split.end
    assert end is not None
    assert end.startswith("2026-03-05")


def test_a_byte_order_mark_is_no_key(config: Callable[..., Path]) -> None:
    assert load_settings(config("\ufeffseed: 3\n" + TIMED)).settings.seed == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"config\.yaml: split\.by == 'time', must be one of user, row, files while"),
        ("train: {max_dept: 8}", r"train\.max_dept is no known key; the nearest is train\.max_depth$"),
        ("max_depth: 8", r"max_depth is no known key; the nearest is train\.max_depth$"),
        ("data: {columns: {lable: x}}", r"data\.columns\.lable is no known key; the nearest is data\.columns\.label$"),
        ("zzz: 8", r"zzz is no known key; docs/configuration\.md lists the keys$"),
        ("1: 8", r"1 is no known key; docs"),
        ("train: {max_depth: deep}", r'config\.yaml: train\.max_depth == "deep", must be a whole number$'),
        ("train: {max_depth: 8.5}", r"train\.max_depth == 8\.5, must be a whole number$"),
        ("seed: '7'", r'seed == "7", must be a whole number$'),
        ("seed: null", r"seed == null, must be a whole number$"),
        ("name: 5", r"name == 5, must be text; put it in quotes$"),
        ("train: {gamma: x}", r'train\.gamma == "x", must be a number$'),
        ("train: {max_depth: 99}", r"train\.max_depth == 99, must be less than or equal to 24$"),
        ("train: 5", r"train == 5, must be keys and values$"),
        ("train: {monotone: 5}", r"train\.monotone == 5, must be keys and values$"),
        ("data: {columns: {numeric: a}}", r'data\.columns\.numeric == "a", must be a list such as \[a, b\]$'),
        (
            "data: {columns: {context: {p: {kind: native, pinned: [1]}}}}",
            r"context\.p\.pinned == \[1\], must be a number",
        ),
        ("split: {test: 5}", r"split\.test == 5, must be text; put it in quotes$"),
        ("split: {test: 5 days}", r'split\.test == "5 days", must be a whole number and a unit'),
        ("split: {end: soon}", r'split\.end == "soon", must be an ISO 8601 date or time'),
        ("split: {by: week}", r"split\.by == \"week\", must be 'time', 'user', 'row' or 'files'$"),
        (
            "data: {columns: {numeric: [a, a]}}",
            r"data\.columns: column 'a' is listed twice; give each column one role$",
        ),
        (
            "data: {columns: {numeric: [click]}}",
            r"data\.columns: the label 'click' is listed among the features; take it",
        ),
        ("evaluate: {metrics: {1st: 'a:b'}}", r'evaluate\.metrics\.1st == "1st", must be a letter'),
        (
            "evaluate: {metrics: {own: hits}}",
            r'evaluate\.metrics\.own == "hits", must name a function as module:function',
        ),
        (
            "{}",
            r"config\.yaml: split\.by == 'time', must be one of user, row, files while data\.columns\.time is null$",
        ),
        (
            "train: {gamma: .inf}",
            r"Out of range float values .*; write text and finite numbers, and null for no bound$",
        ),
        ("seed: !!binary aGk=", r"Object of type bytes is not JSON serializable; write text and finite numbers"),
        ("a: [1", r"config\.yaml:1:6 is no valid YAML: expected ',' or '\]'.*; mend that line$"),
        ("seed: 1\nseed: 2", r"config\.yaml:2:1 is no valid YAML: found duplicate key \"seed\".*; mend that line$"),
        ("seed: \x00", r"config\.yaml is no valid YAML: .*; mend that line$"),
        ("- 1", r"config\.yaml holds a list, must be keys and values such as `seed: 7`$"),
        ("include: 5", r"config\.yaml: include == 5, must be a file or a list of files$"),
        ("include: [5]", r"config\.yaml: include == \[5\], must be a file or a list of files$"),
        ("include: nowhere.yaml", r"config file .*nowhere\.yaml does not exist; give the path of a YAML file$"),
        (
            "include: sample:nowhere",
            r"^sample:nowhere is no bundled config; use sample:open_bandit or sample:simulated",
        ),
    ],
)
def test_a_bad_setting_is_one_line_that_says_what_to_do(config: Callable[..., Path], text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_settings(config(text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.max_depth", r"^--set train\.max_depth must be key=value, such as --set train\.max_depth=8$"),
        ("=8", r"^--set =8 must be key=value"),
        ("seed=[1", r"^--set seed=\[1: the value is no valid YAML: .*; quote it$"),
        ("train.max_dept=8", r"^--set: train\.max_dept is no known key; the nearest is train\.max_depth$"),
        ("train.max_depth=deep", r'^--set: train\.max_depth == "deep", must be a whole number$'),
        ("train=3", r"^--set: train == 3, must be keys and values$"),
    ],
)
def test_a_bad_override_is_one_line_that_says_what_to_do(
    config: Callable[..., Path], override: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_settings(config(TIMED), [override])


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^config file .*nowhere\.yaml does not exist; give the path of a YAML file$"):
        load_settings(tmp_path / "nowhere.yaml")


def test_a_config_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^config file .* cannot be read \(.*Is a directory.*; give the path of a UTF-8"
    ):
        load_settings(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: für".encode("latin-1"))
    with pytest.raises(
        InputError, match=r"^config file .*latin\.yaml cannot be read .*; give the path of a UTF-8 YAML"
    ):
        load_settings(tmp_path / "latin.yaml")


def test_an_error_names_the_file_that_wrote_the_value(config: Callable[..., Path]) -> None:
    config("seed: -1\n" + TIMED, "below.yaml")
    with pytest.raises(InputError, match=r"below\.yaml: seed == -1, must be greater than or equal to 0$"):
        load_settings(config("include: below.yaml\n", "top.yaml"))


def test_every_key_is_known_by_its_dotted_name() -> None:
    keys = set(known_keys(Settings))
    assert {"seed", "train", "train.max_depth", "features.statistics.period", "data.columns.label"} <= keys
