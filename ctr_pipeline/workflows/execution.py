"""An execution on disk: everything that a run computed and is to be logged, whether or not a tracker was there.

``HOME/runs/EXECUTION_ID/`` holds `execution.json`, the resolved settings, the recipe, the snapshot and one folder
per step. It is written first; the tracker hears of it after, and again from `ctr-pipeline sync` where it was away.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import psutil

from ctr_pipeline.engines.attempt import LOG_SUFFIX, PARTIAL_SUFFIX
from tracking.aside import replace_whole
from tracking.code import HOME_MARK
from tracking.errors import InputError
from tracking.records import RunStatus

FORMAT: Final = 1
RECORD_FILE: Final = "execution.json"
LOGGED_FILE: Final = "logged.json"
SETTINGS_FILE: Final = "settings.json"
RECIPE_FILE: Final = "recipe.json"
PROVENANCE_FOLDER: Final = "provenance"
RUNS_FOLDER: Final = "runs"
NOISE_FILE: Final = "noise.json"
_NOISE: Final = "noise"
# What a home holds, by the beginnings of the names; a database has files of its own beside it.
_OF_A_HOME: Final = (RUNS_FOLDER, "store", "cache", "mlflow.db", "artifacts", "ui.log", HOME_MARK, ".gitignore")
# How far corrections of the clock move when a process seems to have begun.
_CLOCK_MOVES_S: Final = 2.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
# proc(5): the 22nd field of `stat`, counted from the 3rd, which follows the name in parentheses.
_START_FIELD: Final = 22 - 3


@dataclass(frozen=True, slots=True)
class StepState:
    """One attempt at a step, or one of the extra runs that measure the noise band.

    Attributes:
        name: of the step, or `noise-N`.
        status: of the attempt.
        started_ms: milliseconds since 1970 UTC.
        ended_ms: milliseconds since 1970 UTC, None while it runs.
        reused_from: the execution that made the output, None where this attempt did.
        reused_run_id: the tracker's id of the step's run there, None where it is not known.
    """

    name: str
    status: RunStatus
    started_ms: int
    ended_ms: int | None = None
    reused_from: str | None = None
    reused_run_id: str | None = None

    @property
    def key(self) -> str:
        """The attempt's id within its execution."""
        return f"{self.name}@{self.started_ms}"

    @property
    def noise(self) -> int | None:
        """The number of the extra run, from 1; None where this is a step."""
        kind, _, number = self.name.partition("-")
        return int(number) if kind == _NOISE and number.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a machine, told from a later one with the same number by when it began.

    Attributes:
        host: name of the machine.
        pid: its number.
        began: seconds since 1970 UTC, which moves with every correction of the clock.
        ticks: when it began in the kernel's own count since the machine started, None where there is none.
        boot: the kernel's id of that start of the machine, None where there is none.
    """

    host: str
    pid: int
    began: float
    ticks: int | None = None
    boot: str | None = None

    @classmethod
    def current(cls) -> Self:
        """Return this process."""
        pid = os.getpid()
        return cls(os.uname().nodename, pid, psutil.Process().create_time(), _start_ticks(pid), _boot_id())

    def is_alive(self) -> bool:
        """Return whether the process still runs; one of another machine is taken to."""
        if self.host != os.uname().nodename:
            return True
        boot = _boot_id()
        if self.ticks is not None and self.boot is not None and boot is not None:
            return self.boot == boot and _start_ticks(self.pid) == self.ticks
        try:
            return abs(psutil.Process(self.pid).create_time() - self.began) <= _CLOCK_MOVES_S
        except psutil.NoSuchProcess:
            return False


@dataclass(frozen=True, slots=True)
class Execution:
    """A run of the pipeline: what happened, told by its driver.

    Attributes:
        execution_id: our own id, there before any tracker was asked.
        name: of the run.
        experiment: of the run.
        tracking_uri: where it is to be logged, without credentials.
        started_ms: milliseconds since 1970 UTC.
        process: the driver.
        status: of the whole.
        tags: of all its runs: commit, data version, who, where.
        ended_ms: milliseconds since 1970 UTC, None while it runs.
        failure: in one line, why it failed.
        steps: in the order they were started; the extra runs of the noise band come behind them.
        noise_failure: in one line, why the noise band that was asked for was not measured.
    """

    execution_id: str
    name: str
    experiment: str
    tracking_uri: str
    started_ms: int
    process: Process
    tags: Mapping[str, str] = field(default_factory=dict)
    status: RunStatus = RunStatus.RUNNING
    ended_ms: int | None = None
    failure: str | None = None
    steps: tuple[StepState, ...] = field(default=())
    noise_failure: str | None = None

    @property
    def is_computed(self) -> bool:
        """Whether all steps are over and well: no extra run begins before."""
        return any(step.noise is not None for step in self.steps)

    @property
    def was_left(self) -> bool:
        """Whether it says that it runs while its driver is gone: killed, or the machine went down."""
        return self.status is RunStatus.RUNNING and not self.process.is_alive()

    def with_step(self, state: StepState) -> "Execution":
        """Return the execution with a step's state added, or put in place of the same attempt's."""
        others = tuple(step for step in self.steps if step.key != state.key)
        return replace(self, steps=(*others, state))


@dataclass(frozen=True, slots=True)
class Logged:
    """How far an execution is logged, told by the recorder.

    Attributes:
        run_id: the tracker's id of the parent run, once there is one.
        step_run_ids: by the attempt's key, the tracker's id of its run.
        model_id: the tracker's id of the logged model, once there is one.
        complete: whether the tracker has all of it.
    """

    run_id: str | None = None
    step_run_ids: Mapping[str, str] = field(default_factory=dict)
    model_id: str | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True)
class ExecutionFolder:
    """Where an execution lies on disk."""

    path: Path

    @property
    def is_there(self) -> bool:
        """Whether an execution lies there."""
        return (self.path / RECORD_FILE).exists()

    @property
    def settings(self) -> Path:
        """The resolved settings."""
        return self.path / SETTINGS_FILE

    @property
    def recipe(self) -> Path:
        """The recipe."""
        return self.path / RECIPE_FILE

    @property
    def provenance(self) -> Path:
        """Folder of the source snapshot, the lock and the patch."""
        return self.path / PROVENANCE_FOLDER

    def step(self, name: str) -> Path:
        """Folder of a step's output."""
        return self.path / name

    @property
    def noise_band(self) -> Path:
        """The noise band and the runs that it was measured on."""
        return self.path / NOISE_FILE

    def noise(self, number: int) -> Path:
        """Folder of what is kept of an extra run."""
        return self.path / _NOISE / str(number)

    def leftovers(self) -> Iterator[Path]:
        """Yield half-written step folders."""
        yield from sorted(self.path.glob(f"*{PARTIAL_SUFFIX}"))

    def logs(self) -> Iterator[Path]:
        """Yield the steps' log files."""
        yield from sorted(self.path.glob(f"*{LOG_SUFFIX}"))

    def load(self) -> Execution:
        """Read the execution's record.

        Raises:
            InputError: there is none, or a newer version wrote it.
        """
        path = self.path / RECORD_FILE
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise InputError(f"{self.path} holds no {RECORD_FILE}, must be an execution's folder") from error
        if values["format"] != FORMAT:
            raise InputError(f"{path}: format == {values['format']}, must be {FORMAT}; update ctr-pipeline to read it")
        return _execution(values)

    def save(self, execution: Execution) -> None:
        """Write the execution's record, whole or not at all; only the driver does."""
        _write(self.path / RECORD_FILE, execution)

    def load_logged(self) -> Logged:
        """Read how far the execution is logged.

        Raises:
            InputError: a newer version wrote it.
        """
        path = self.path / LOGGED_FILE
        if not path.exists():
            return Logged()
        values = json.loads(path.read_bytes())
        if values["format"] != FORMAT:
            raise InputError(f"{path}: format == {values['format']}, must be {FORMAT}; update ctr-pipeline to read it")
        return Logged(**{key: value for key, value in values.items() if key != "format"})

    def save_logged(self, logged: Logged) -> None:
        """Write how far the execution is logged, whole or not at all; only a recorder does."""
        _write(self.path / LOGGED_FILE, logged)


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of everything that is kept on this machine: `.ctr` beside the code, or what `CTR_HOME` names."""

    path: Path

    @classmethod
    def find(cls, root: Path) -> Self:
        """Return the home of a project."""
        return cls(Path(os.environ["CTR_HOME"]).resolve() if os.environ.get("CTR_HOME") else root / ".ctr")

    @property
    def tracking_uri(self) -> str:
        """The local MLflow database."""
        return f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def store(self) -> Path:
        """Folder of the content-addressed store."""
        return self.path / "store"

    @property
    def cache(self) -> Path:
        """Folder of what may be deleted at any time."""
        return self.path / "cache"

    def make(self) -> None:
        """Make the folder, and mark it so that neither git nor a source snapshot takes it for source.

        A folder that holds anything else is left as it is: the mark would hide that too.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if all(entry.name.startswith(_OF_A_HOME) for entry in self.path.iterdir()):
            (self.path / HOME_MARK).touch()
            (self.path / ".gitignore").write_text("*\n", encoding="utf-8")

    def execution(self, execution_id: str) -> ExecutionFolder:
        """Return an execution's folder, which need not exist."""
        return ExecutionFolder(self.path / RUNS_FOLDER / execution_id)

    def executions(self) -> Iterator[ExecutionFolder]:
        """Yield the folders of all executions, oldest first."""
        for path in sorted((self.path / RUNS_FOLDER).glob(f"*/{RECORD_FILE}")):
            yield ExecutionFolder(path.parent)


def noise_name(number: int) -> str:
    """Return the name of an extra run of the noise band."""
    return f"{_NOISE}-{number}"


def _write(path: Path, value: Execution | Logged) -> None:
    replace_whole(path, json.dumps({"format": FORMAT, **asdict(value)}, indent=1, sort_keys=True).encode())


def _execution(values: Mapping[str, Any]) -> Execution:
    fields = {key: value for key, value in values.items() if key != "format"}
    fields["status"] = RunStatus(fields["status"])
    fields["process"] = Process(**fields["process"])
    fields["steps"] = tuple(StepState(**{**step, "status": RunStatus(step["status"])}) for step in fields["steps"])
    return Execution(**fields)


def _start_ticks(pid: int) -> int | None:
    """Return when a process began, in clock ticks since the machine started; None without it, or one not reaped yet."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[_START_FIELD])


def _boot_id() -> str | None:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return None
