"""A real git repository to stage hazards in."""

import subprocess
from pathlib import Path

from tracking.code import SourceTree
from tracking.snapshot import SourceSnapshot, take_snapshot
from tracking.source_files import SnapshotLimits


class Repository:
    """A git repository in a folder; `write` and `git` do what a user would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ("git", "-c", "protocol.file.allow=always", *arguments), cwd=self.root, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    def write(self, path: str, content: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def commit(self, **files: str) -> str:
        """Commit everything; keyword `a__b` is the module `a/b.py`."""
        for name, content in files.items():
            self.write(f"{name.replace('__', '/')}.py", content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=change")
        return self.git("rev-parse", "HEAD")


def snap(repository: Repository, out: Path, limits: SnapshotLimits | None = None) -> SourceSnapshot:
    """Take a snapshot of the repository."""
    return take_snapshot(SourceTree.find(repository.root), out, limits=limits)


def statuses(snapshot: SourceSnapshot) -> dict[str, str]:
    """Return the status of each file that a snapshot holds."""
    return {file.path: file.status for file in snapshot.files}
