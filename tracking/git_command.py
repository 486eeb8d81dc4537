"""The `git` command: run without taking a lock, without the user's display settings, without a hook's variables."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tracking.errors import InputError

# A git hook sets these for the repository it runs in; here they would point at the wrong one.
_LOCAL_VARIABLES = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIFF_OPTS",
        "GIT_DIR",
        "GIT_EXTERNAL_DIFF",
        "GIT_GLOB_PATHSPECS",
        "GIT_GRAFT_FILE",
        "GIT_ICASE_PATHSPECS",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_LITERAL_PATHSPECS",
        "GIT_NAMESPACE",
        "GIT_NOGLOB_PATHSPECS",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
_OPTIONS = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")


class GitError(InputError):
    """A git command failed; the message carries git's own first line."""


def run_git(root: Path, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
    """What a git command printed, run in a folder.

    Raises:
        GitError: it failed.
        FileNotFoundError: git is not installed.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _LOCAL_VARIABLES}
    done = subprocess.run(
        ("git", *_OPTIONS, "-C", str(root), *arguments),
        input=stdin,
        capture_output=True,
        check=False,
        env=inherited | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"} | dict(environment or {}),
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0] or f"exit code {done.returncode}"
        raise GitError(f"git {arguments[0]} failed in {root}: {said}")
    return done.stdout


def split_records(output: bytes) -> list[str]:
    """The entries of a `-z` listing."""
    return [os.fsdecode(entry) for entry in output.split(b"\0") if entry]


def join_records(paths: tuple[str, ...]) -> bytes:
    """Paths as `-z --stdin` takes them."""
    return b"\0".join(os.fsencode(path) for path in paths)
