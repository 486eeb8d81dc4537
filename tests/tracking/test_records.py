import math
from collections.abc import Callable

import pytest

from tracking.errors import InputError
from tracking.records import Artifact, DatasetInput, Metric, ModelArtifact, Param, Tag


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", "a=b", "a:b", "a\nb", "x" * 251])
@pytest.mark.parametrize("make", [lambda key: Param(key, ""), lambda key: Tag(key, ""), lambda key: Metric(key, 1.0)])
def test_a_key_that_trackers_refuse_is_refused_where_it_is_made(make: Callable[[str], object], key: str) -> None:
    with pytest.raises(InputError, match=r"^(param|tag|metric) key '.*' is not allowed: letters, digits"):
        make(key)


@pytest.mark.parametrize("key", ["test.auc", "slice/campaign men", "größe", "x" * 250])
def test_usual_keys_are_allowed(key: str) -> None:
    assert Metric(key, 1.0).key == key


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_is_finite(value: float) -> None:
    with pytest.raises(InputError, match=r"^metric 'auc' is (nan|inf|-inf), must be finite: leave it out"):
        Metric("auc", value)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a", "a/../b", "a//b", "./a", "a\\b"])
def test_an_artifact_stays_in_its_folder(path: str) -> None:
    with pytest.raises(InputError, match=r"^artifact .* must be a relative path"):
        Artifact(path)
    with pytest.raises(InputError, match=r"^model .* must be a relative path"):
        ModelArtifact(path, "m")


def test_an_artifacts_target_stays_in_the_run() -> None:
    with pytest.raises(InputError, match=r"^artifact_path '\.\./a' must be a relative path"):
        Artifact("a", "../a")
    assert Artifact("deep/a.txt").target == "a.txt"
    assert Artifact("deep/a.txt", "x/y").target == "x/y/a.txt"


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "a:b", "it's"])
def test_a_model_name_is_one_that_mlflow_takes(name: str) -> None:
    with pytest.raises(InputError, match=r"^model name .* is not allowed"):
        ModelArtifact("model", name)


@pytest.mark.parametrize(
    ("name", "digest", "n_rows", "message"),
    [
        ("", "ab", 1, "^dataset name '' has 0 characters, must have 1 to 500"),
        ("x" * 501, "ab", 1, "has 501 characters, must have 1 to 500"),
        ("d", "AB", 1, "^digest of dataset 'd' is 'AB', must be 1 to 32 lower-case hex digits"),
        ("d", "a" * 33, 1, "must be 1 to 32 lower-case hex digits"),
        ("d", "ab", -1, "^n_rows of dataset 'd' is -1, must be >= 0"),
    ],
)
def test_a_dataset_is_checked(name: str, digest: str, n_rows: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DatasetInput(name, digest, "file:///d", n_rows, (), "raw")
