"""What the tests of the data layer share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugins.s3_fixtures import s3_bucket, s3_server, s3_variables, versioned_bucket

__all__ = ["s3_bucket", "s3_server", "s3_variables", "versioned_bucket"]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write_file(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write_file
