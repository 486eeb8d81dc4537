"""A run whose data and store are on S3, and what another machine makes of it months later."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.click_log import make_log, write_config, write_log
from tests.e2e.workplace import Workplace
from tests.plugins.s3_fixtures import Bucket


@pytest.fixture
def project(tmp_path: Path, s3_variables: Mapping[str, str]) -> Workplace:
    (tmp_path / "project").mkdir()
    write_config(tmp_path / "project" / "small.yaml", Path("replaced-by-set"))
    return Workplace(tmp_path / "project", tmp_path / "home", s3_variables)


def test_data_on_s3_are_read_pinned_and_brought_back(
    project: Workplace, versioned_bucket: Bucket, s3_bucket: Bucket, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "made", make_log(2_000))
    uri, store = f"{versioned_bucket.uri}/logs/", f"{s3_bucket.uri}/team"
    version = versioned_bucket.put("logs/log.parquet", log.read_bytes())
    versioned_bucket.put("logs/_SUCCESS", b"")
    places = ("--set", f"data.uri={uri}", "--set", f"data.store={store}")
    run = project.run("run", "--config", "small.yaml", *places, "--json").report
    recipe = json.loads(next((project.home / "runs").glob("*/recipe.json")).read_bytes())
    circumstances = recipe["circumstances"]
    assert circumstances["data_uri"] == uri
    assert circumstances["s3_versions"] == {f"{uri}log.parquet": version}
    assert circumstances["pinned_uri"].startswith(f"{store}#manifests/{run['data_version']}-")
    assert not {"uri", "store"} & recipe["identity"]["settings"]["data"].keys()
    assert [key.partition("/manifests/")[0] for key in s3_bucket.listed()] == ["team"]

    # Months later, on a machine that never saw the data: the object was overwritten, then deleted.
    versioned_bucket.put("logs/log.parquet", b"something else")
    versioned_bucket.client.delete_object(Bucket=versioned_bucket.name, Key="logs/log.parquet")
    elsewhere = replace(project, home=tmp_path / "elsewhere")
    shown = elsewhere.run("data", "show", run["data_version"][:12], "--store", store, "--json").report
    assert (shown["missing"], shown["unchecked"]) == ([], None)
    assert shown["files"][0]["uri"] == f"{uri}log.parquet"
    told = elsewhere.run("data", "show", run["data_version"][:12], "--store", store).stdout
    assert "every file is there, 1 of 1 as versions of objects on S3" in told
    back = elsewhere.run("data", "restore", run["data_version"], "--into", "back", "--store", store, "--json")
    assert back.report["data_version"] == run["data_version"]
    assert (project.folder / "back" / "log.parquet").read_bytes() == log.read_bytes()


def test_what_s3_does_not_give_ends_in_one_line(project: Workplace, s3_bucket: Bucket) -> None:
    gone = project.run("data", "pin", f"{s3_bucket.uri}/nothing/")
    assert gone.exit_code == 2
    assert len(gone.errors) == 1
    assert f"source '{s3_bucket.uri}/nothing/' does not exist or holds no file" in gone.errors[0]
    s3_bucket.put("a.csv", b"click\n1\n")
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    refused = project.run("data", "pin", f"{s3_bucket.uri}/a.csv", **nobody)
    assert refused.exit_code == 1
    assert len(refused.errors) == 1
    assert "no AWS credentials were found; set AWS_PROFILE" in refused.errors[0]
