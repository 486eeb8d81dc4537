"""Where objects can be: a folder or S3, told apart by how the place is written."""

from pathlib import Path

import pytest

from tracking.errors import InputError
from tracking.folder_objects import FolderObjects
from tracking.location import open_objects
from tracking.s3_objects import S3Objects


def test_a_folder_is_a_path_or_a_file_uri(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    for place in (folder, str(folder), f"file://{tmp_path}/a%20b", f"file://localhost{tmp_path}/a%20b"):
        objects = open_objects(place)
        assert isinstance(objects, FolderObjects)
        assert objects.uri == str(folder)


def test_s3_is_known_by_its_scheme() -> None:
    objects = open_objects("s3://bucket/team/store/")
    assert isinstance(objects, S3Objects)
    assert objects.uri == "s3://bucket/team/store"


@pytest.mark.parametrize("place", ["gs://bucket/x", "file://elsewhere/x", "https://127.0.0.1/x"])
def test_any_other_place_is_refused(place: str) -> None:
    with pytest.raises(InputError, match=r"^store == '.*', must be a folder, file:///FOLDER or s3://BUCKET/PREFIX"):
        open_objects(place)
