"""Every command that the README shows does what it says, in a copy of the checkout."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import Checkout
from tests.e2e.workplace import ROOT, uv_command

pytestmark = pytest.mark.slow

_BLOCK: Final = re.compile(r"^```sh\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT: Final = re.compile(r"\s+#.*$")
_INSTALL: Final = re.compile(r"^python3 -m pip install uv( && )?")


def shell_blocks() -> Iterator[list[str]]:
    """Yield the commands of each shell example; installing uv is what brought the tests here."""
    for block in _BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8")):
        lines = (_COMMENT.sub("", line).strip() for line in block["lines"].splitlines())
        yield [rest for line in lines if line and not line.startswith("#") and (rest := _INSTALL.sub("", line))]


BLOCKS: Final = list(shell_blocks())


def test_the_readme_starts_with_the_two_commands_of_a_newcomer() -> None:
    assert BLOCKS[0] == ["python3 -m uv run ctr-pipeline run", "python3 -m uv run pytest"]


@pytest.mark.parametrize("commands", BLOCKS, ids=[commands[0] for commands in BLOCKS])
def test_every_command_of_a_shell_example_runs(checkout: Checkout, commands: list[str]) -> None:
    place = checkout.place
    scripts = Path(sys.executable).parent
    environment = place.environment(
        PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}",
        # The tests' own environment serves; a fresh one is what CI makes before it comes here.
        UV_PROJECT_ENVIRONMENT=str(scripts.parent),
        UV_NO_SYNC="1",
        # All tests within one of them would never end: that they are found has to do.
        PYTEST_ADDOPTS="--collect-only --quiet -p no:cacheprovider",
    )
    for command in commands:
        script = command.replace("python3 -m uv ", f"{' '.join(uv_command())} ")
        done = subprocess.run(
            ("bash", "-euo", "pipefail", "-c", script),
            cwd=place.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"
