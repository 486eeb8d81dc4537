"""A store that is configured elsewhere: what `place`, `data`, `show`, `gc` and `doctor` make of it."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_pipeline.workflows.data import find_source, list_versions, pin_source, restore_version, show_version
from ctr_pipeline.workflows.doctor_data import data_findings
from ctr_pipeline.workflows.gc import collect, plan_collection
from ctr_pipeline.workflows.place import Place, find_place, open_store, store_named_by
from ctr_pipeline.workflows.show import show_run
from tests.plugins.run_fixtures import FinishedRun, write_log
from tests.plugins.s3_fixtures import Bucket
from tracking.errors import InputError

YEAR_S = 365 * 86_400.0


@pytest.fixture
def shared(run_copy: FinishedRun, s3_bucket: Bucket) -> Place:
    """The finished run's place with a store on S3."""
    return replace(run_copy.place, store_uri=f"{s3_bucket.uri}/team")


def pinned(uri: str | Path, place: Place) -> str:
    return pin_source(find_source(place.root, str(uri), None, place), place).manifest.data_version


def test_a_relative_store_is_taken_from_the_projects_root(tmp_path: Path, run_copy: FinishedRun) -> None:
    place = replace(run_copy.place, root=tmp_path / "project", store_uri="../kept")
    assert place.store.objects.uri == str(tmp_path / "kept")
    assert open_store(place.home, tmp_path, str(tmp_path / "x")).objects.uri == str(tmp_path / "x")
    assert open_store(place.home, tmp_path, None).objects.uri == str(place.home.store)


def test_a_store_that_is_none_is_refused(run_copy: FinishedRun) -> None:
    with pytest.raises(InputError, match=r"store == 'ftp://x', must be a folder, file:///FOLDER or s3://BUCKET/PREFIX"):
        _ = replace(run_copy.place, store_uri="ftp://x").store


def test_the_configured_store_is_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTR_HOME", str(tmp_path / "home"))
    config = tmp_path / "team.yaml"
    config.write_text("split: {by: row}\ndata: {store: 's3://bucket/team'}\n", encoding="utf-8")
    assert find_place(tmp_path, config=str(config)).store.objects.uri == "s3://bucket/team"
    assert find_place(tmp_path).store_uri is None


def test_a_recipes_store_is_known_as_configured_or_as_the_homes_own(run_copy: FinishedRun) -> None:
    place = replace(run_copy.place, store_uri="s3://bucket/team/")
    own = f"{place.home.store}#manifests/ab.json"
    for pinned_uri, uri in (("s3://bucket/team#manifests/ab.json", "s3://bucket/team"), (own, str(place.home.store))):
        store = place.store_of(pinned_uri)
        assert store is not None
        assert store.objects.uri == uri == store_named_by(pinned_uri)
        assert place.holds(pinned_uri)
    assert not place.holds("s3://bucket/other#manifests/ab.json")
    assert not place.holds(None)


def test_data_are_pinned_listed_and_restored_there(shared: Place, s3_bucket: Bucket, tmp_path: Path) -> None:
    version = pinned(write_log(tmp_path / "other.csv", 50, seed=9), shared)
    assert {key.split("/")[1] for key in s3_bucket.listed()} == {"manifests", "sha256"}
    assert [view.manifest.data_version for view in list_versions(shared)] == [version]
    assert show_version(version[:8], shared).missing == ()
    restore_version(version, tmp_path / "back", shared)
    assert (tmp_path / "back" / "other.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()


def test_a_version_on_s3_out_of_reach_hides_no_other(
    run_copy: FinishedRun, versioned_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned_bucket.put("a.csv", b"click,ad\n0,x\n")
    version = pinned(f"{versioned_bucket.uri}/a.csv", run_copy.place)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    views = {view.manifest.data_version: view for view in list_versions(run_copy.place)}
    assert "does not answer" in str(views.pop(version).unchecked)
    assert [view.unchecked for view in views.values()] == [None]


def test_a_run_pinned_before_a_store_was_configured_tells_that_its_data_are_there(finished_run: FinishedRun) -> None:
    assert show_run("latest", finished_run.place).data.pinned_here
    assert show_run("latest", replace(finished_run.place, store_uri="s3://bucket/team")).data.pinned_here


def test_nothing_is_ever_removed_from_a_shared_store(shared: Place, s3_bucket: Bucket, tmp_path: Path) -> None:
    pinned(write_log(tmp_path / "other.csv", 50, seed=9), shared)
    before = s3_bucket.listed()
    found = plan_collection(shared, older_than_us=0, now_s=time.time() + YEAR_S)
    collect(found)
    assert s3_bucket.listed() == before
    # What the home itself holds is named by its run.
    assert not {"manifest", "object"} & {item.kind for item in found.items}


def test_what_was_fetched_goes_when_it_was_not_used_for_a_while(run_copy: FinishedRun, s3_bucket: Bucket) -> None:
    s3_bucket.put("old.csv", b"click,ad\n0,x\n")
    s3_bucket.put("used.csv", b"click,ad\n0,y\n")
    for name in ("old.csv", "used.csv"):
        pinned(f"{s3_bucket.uri}/{name}", run_copy.place)
    fetched = sorted(path for path in (run_copy.home.cache / "s3").rglob("*") if path.is_file())
    for path in fetched:
        os.utime(path, (0, 0))
    pinned(f"{s3_bucket.uri}/used.csv", run_copy.place)
    found = plan_collection(run_copy.place, older_than_us=86_400_000_000, now_s=time.time())
    (gone,) = (item.path for item in found.items if item.path in fetched)
    assert gone.read_bytes().endswith(b"0,x\n")


def test_the_doctor_names_a_version_that_expired(run_copy: FinishedRun, versioned_bucket: Bucket) -> None:
    version_id = versioned_bucket.put("a.csv", b"click,ad\n0,x\n")
    version = pinned(f"{versioned_bucket.uri}/a.csv", run_copy.place)
    assert list(data_findings(run_copy.place, run_copy.place.tracker(), deep=True)) == []
    versioned_bucket.expire("a.csv", version_id)
    (found,) = data_findings(run_copy.place, None, deep=False)
    assert (found.kind, found.subject) == ("manifest-incomplete", version)
    assert f"first a.csv ({versioned_bucket.uri}/a.csv version {version_id} is gone)" in found.problem


def test_the_doctor_goes_on_where_the_store_cannot_be_reached(run_copy: FinishedRun, s3_server: str) -> None:
    place = replace(run_copy.place, store_uri="s3://no-such-bucket/team")
    (found,) = data_findings(place, run_copy.place.tracker(), deep=False)
    assert (found.kind, found.subject) == ("store", "s3://no-such-bucket/team")
    assert "there is no such bucket" in found.problem
