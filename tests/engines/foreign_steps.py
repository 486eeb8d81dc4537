"""Steps of our own for the foreign engine, and what its tests share."""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Final, Protocol

import pytest

from ctr_pipeline.engines import foreign
from ctr_pipeline.engines.attempt import StepJob, StepProgress
from ctr_pipeline.pipeline import StepSpec


class Attempt(Protocol):
    """Makes a job of a step of our own that ends in the way asked for."""

    def __call__(self, way: str, module: str = "own_step") -> StepJob: ...


OWN_STEP: Final = """
    import os, signal, sys
    import own_neighbour
    from ctr_pipeline.steps import job as contract
    from tracking.errors import InputError, JobError

    def run(job):
        (job.output / "result.txt").write_text("half")
        print("to the log")
        print("to the log too", file=sys.stderr, flush=True)
        WAYS[(job.input("way") / "way").read_text()](job)
        facts = {
            "neighbour": own_neighbour.VALUE, "place": own_neighbour.__file__, "name": __name__, "spec": __spec__.name,
            "argv": sys.argv, "variables": sorted(os.environ), "input": sys.stdin.read(), "python": sys.executable,
            "isolated": sys.flags.isolated, "imported": own_neighbour.IMPORTED,
        }
        return contract.StepResult({"result": "ab"}, facts, ())

    def refuse(job):
        raise InputError("no clicks; bring some")

    def fail(job):
        raise JobError("went wrong")

    def crash(job):
        raise ZeroDivisionError("odd")

    def kill(job):
        os.kill(os.getpid(), signal.SIGKILL)

    def fault(job):
        os.kill(os.getpid(), signal.SIGSEGV)

    def leave(job):
        os.write(2, b"first\\nlast words\\n")
        os._exit(7)

    def leave_well(job):
        os._exit(0)

    def wait(job):
        job.progress.report("waiting", os.getpid(), None)
        # Nobody ever opens the other end.
        (job.input("way") / "fifo").read_text()

    WAYS = {name: value for name, value in list(globals().items()) if callable(value)} | {"end": lambda job: None}

    if __name__ == "__main__":
        sys.exit(contract.main("own", run))
    own_neighbour.IMPORTED += 1
"""


# What a module may do when it is run, and what `python -m` makes of it.
ENDS: Final = {
    "words": "import sys; sys.exit('nothing to do here')",
    "raises": "raise LookupError('lost')",
    "number": "import sys; sys.exit(9)",
    "nothing": "import sys; sys.exit()",
    "falls_through": "",
}


def drop(progress: StepProgress) -> None:
    del progress


def write_code(root: Path) -> Path:
    root.mkdir()
    (root / "own_step.py").write_text(dedent(OWN_STEP), encoding="utf-8")
    (root / "own_neighbour.py").write_text("VALUE = 42\nIMPORTED = 0\n", encoding="utf-8")
    for name, text in ENDS.items():
        (root / f"ends_with_{name}.py").write_text(text, encoding="utf-8")
    (root / "chatty.py").write_text("""print('{"exit": 0}', flush=True)\n""", encoding="utf-8")
    (root / "broken.py").write_text("raise LookupError('lost')\n", encoding="utf-8")
    return root


@contextmanager
def lightened() -> Iterator[None]:
    """Have what our own steps need, and not xgboost, imported before a step is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreign, "_LIBRARIES", ())
        modules = ("ctr_pipeline.steps.job", "own_step", "chatty", "broken")
        patch.setattr(foreign, "PIPELINE", [StepSpec(name, name, {}) for name in reversed(modules)])
        yield


def require_end(process: int, timeout_s: float = 60.0) -> None:
    """Wait for a process of any parent, by its descriptor; fail where it lives on."""
    try:
        assert select.select([process], [], [], timeout_s)[0], "the process lives on"
    finally:
        os.close(process)
