"""What a person and a machine see of ``ctr-pipeline run``: progress bars, the table of metrics, JSON."""

from types import TracebackType
from typing import Any, Final, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from ctr_pipeline.cli.output import page, print_json
from ctr_pipeline.engines.attempt import StepProgress
from ctr_pipeline.evaluation.noise import NoiseBand
from ctr_pipeline.pipeline import PIPELINE
from ctr_pipeline.workflows.driver import REUSED
from ctr_pipeline.workflows.run import RunReport
from tracking.records import RunStatus

_SHOWN: Final = (
    ("logloss", "lower is better"),
    ("logloss_train_base_rate", "of always predicting the training rate"),
    ("normalized_entropy", "below 1 beats the test rows' own rate"),
    ("normalized_entropy_recalibrated", "the same after recalibration"),
    ("auc", "1 ranks perfectly, 0.5 by chance"),
    ("grouped_auc", "the same within a request or user"),
    ("pr_auc", "average precision"),
    ("calibration", "predicted / actual clicks"),
    ("ece", "expected calibration error"),
    ("ece_by_chance", "what perfect calibration would show here"),
)
# Columns of a terminal that has room for explanations.
_WIDE: Final = 105
_CHANCE: Final = 0.5
_LOGLOSS: Final = "test.logloss"
_AS_LOGGED: Final = "test.as_logged.calibration"


def show_report(report: RunReport, *, as_json: bool) -> None:
    """Print what a run came to, on standard output."""
    if as_json:
        print_json(_as_json(report))
        return
    screen = page()
    screen.print(_metrics_table(report, explained=screen.width >= _WIDE))
    screen.print(_in_words(report), style="italic")
    for name, value in (
        ("run", f"{report.run_id or 'not logged yet'}   ({report.wall_s:.1f} s, grade {report.recipe_grade})"),
        ("data", report.data_version),
        ("code", report.code_version),
        ("model", report.model_digest[:32]),
        ("outputs", str(report.folder)),
    ):
        screen.print(f"{name:<9}{value}", soft_wrap=True)
    for step, made_by in report.reused.items():
        screen.print(f"{step:<11}reused from {made_by}", style="dim", soft_wrap=True)
    if report.noise is not None:
        screen.print(f"{'noise':<9}{_chance_alone(report.noise)}", soft_wrap=True)
    for warning in report.warnings:
        screen.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    for missing in report.recipe_missing:
        screen.print(f"no grade A: {missing}", style="dim", soft_wrap=True)
    screen.print("[bold]ctr-pipeline show latest[/bold] tells all of it, [bold]ctr-pipeline ui[/bold] compares runs")


def _metrics_table(report: RunReport, *, explained: bool) -> Table:
    first = next(iter(report.estimates.values()))
    title = f"test split: {first['n_rows']:,} impressions, {first['n_clicks']:,} clicks"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column(f"{report.confidence:.0%} interval", no_wrap=True)
    if explained:
        table.add_column("", overflow="ellipsis", no_wrap=True, style="dim")
    own = ((name, "an own metric") for name in report.own_metrics)
    for name, meaning in (*_SHOWN, *own):
        estimate = report.estimates.get(name)
        if estimate is not None and estimate["value"] is not None:
            interval = "" if estimate["low"] is None else f"{estimate['low']:.4g} to {estimate['high']:.4g}"
            table.add_row(name, f"{estimate['value']:.5g}", interval, *([meaning] if explained else []))
    if _AS_LOGGED in report.metrics:
        value = f"{report.metrics[_AS_LOGGED]:.5g}"
        table.add_row("as_logged.calibration", value, "", *(["with the context as logged"] if explained else []))
    return table


def _in_words(report: RunReport) -> str:
    """Say in a sentence whether the model is better than a constant."""
    entropy = report.estimates["normalized_entropy"]
    if entropy["value"] is None or entropy["low"] is None:
        return f"No verdict on the model: {entropy['reason']}."
    if entropy["high"] < 1:
        return "The model beats the base rate on these rows."
    if entropy["low"] > 1:
        return "The model is worse than the base rate on these rows."
    auc = report.estimates["auc"]
    if auc["low"] is not None and auc["low"] > _CHANCE:
        return (
            f"The model ranks better than chance (AUC {auc['value']:.3f}), but {entropy['n_clicks']:,} clicks do not "
            f"tell its probabilities from the base rate: it predicts {report.estimates['calibration']['value']:.2f} "
            f"times the clicks that came{_as_logged(report)}."
        )
    return f"{entropy['n_clicks']:,} clicks are too few to tell the model from the base rate."


def _chance_alone(band: NoiseBand) -> str:
    """Say what chance alone does to the run."""
    if band.is_empty:
        return f"{band.runs} extra runs: another {band.chance} changes nothing"
    moved, margins = band.metrics.get(_LOGLOSS, 0.0), band.margins
    return (
        f"{band.runs} extra runs: another {band.chance} moves the logloss by up to {moved:.2g}, predictions by "
        f"{margins.mean:.2g} in log odds on average, {margins.largest:.2g} at most"
    )


def _as_logged(report: RunReport) -> str:
    figure = report.metrics.get(_AS_LOGGED)
    return "" if figure is None else f" ({figure:.2f} times with the context as logged, not pinned)"


def _as_json(report: RunReport) -> dict[str, Any]:
    return {
        "run_id": report.run_id,
        "execution_id": report.execution_id,
        "status": str(report.status),
        "data_version": report.data_version,
        "code_version": report.code_version,
        "model_digest": report.model_digest,
        "recipe_digest": report.recipe_digest,
        "recipe_grade": report.recipe_grade,
        # Undefined ones are null, such as grouped AUC without a key.
        "metrics": {f"test.{name}": estimate["value"] for name, estimate in report.estimates.items()}
        | dict(report.metrics),
        "reused": dict(report.reused),
        "warnings": list(report.warnings),
        "noise": None if report.noise is None else report.noise.to_record(),
        "report": None,
        "outputs": str(report.folder),
        "tracking_uri": report.tracking_uri,
        "wall_s": report.wall_s,
    }


class Bars:
    """Progress bars, one per step."""

    def __init__(self, screen: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:<11}"),
            TextColumn("{task.fields[doing]:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=screen,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        for step in PIPELINE:
            self._tasks[step.name] = self._progress.add_task(step.name, start=False, total=None, doing="waiting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step_began(self, name: str) -> None:
        """Start a step's bar and clock; one that is no step's appears now."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, start=False, total=None, doing="waiting")
        self._progress.start_task(self._tasks[name])
        self._progress.update(self._tasks[name], doing="starting")

    def step_moved(self, progress: StepProgress) -> None:
        """Move a step's bar."""
        task = self._tasks[progress.step]
        self._progress.update(task, completed=progress.done, total=progress.total, doing=progress.doing)

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:
        """Stop a step's bar and clock."""
        del wall_s  # the bar shows it
        task = self._tasks[name]
        if self._progress.tasks[task].fields["doing"] != REUSED:
            self._progress.update(task, doing=status.lower())
        if status is RunStatus.FINISHED:
            self._progress.update(task, total=1, completed=1)
        self._progress.stop_task(task)
