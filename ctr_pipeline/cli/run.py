"""``ctr-pipeline run``."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from ctr_pipeline.cli.output import console, print_json
from ctr_pipeline.config_file import load_settings
from ctr_pipeline.engines.local import StepProgress
from ctr_pipeline.pipeline import PIPELINE
from ctr_pipeline.workflows.run import RunReport, UnloggedRunError, run_pipeline
from tracking.records import RunStatus

_SHOWN = (
    ("logloss", "lower is better"),
    ("logloss_train_base_rate", "always predicting the training click rate"),
    ("normalized_entropy", "below 1 beats the base rate"),
    ("normalized_entropy_recalibrated", "the same after recalibration"),
    ("auc", "1 ranks perfectly, 0.5 by chance"),
    ("grouped_auc", "within a request or user"),
    ("pr_auc", "average precision"),
    ("calibration", "predicted / actual clicks"),
    ("ece", "expected calibration error"),
    ("ece_by_chance", "what perfect calibration would show here"),
)


@click.command()
@click.option("--config", "-c", metavar="FILE", help="YAML file; default: configs/default.yaml, else the bundled data.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Lay one value over the config.")
@click.option("--engine", type=click.Choice(["local"]), default="local", show_default=True, help="Where steps run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def run(config: str | None, overrides: tuple[str, ...], engine: str, *, as_json: bool) -> int:
    """Preprocess, train, evaluate and track a model."""
    del engine  # one choice so far
    loaded = load_settings(config or _default_config(), overrides)
    screen = console()
    try:
        with _Bars(screen) as bars:
            report = run_pipeline(loaded, bars, start=Path.cwd(), argv=sys.argv)
    except UnloggedRunError as error:
        _show(screen, error.report, as_json=as_json)
        raise
    _show(screen, report, as_json=as_json)
    return 0


def _default_config() -> str | None:
    default = Path("configs/default.yaml")
    return str(default) if default.exists() else None


def _show(screen: Console, report: RunReport, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(report))
        return
    screen.print(_metrics_table(report))
    logged = report.run_id or "not logged yet"
    screen.print(f"run          {logged}   ({report.wall_s:.1f} s, grade {report.recipe_grade})")
    screen.print(f"data         {report.data_version}")
    screen.print(f"code         {report.code_version}")
    screen.print(f"model        {report.model_digest[:32]}")
    screen.print(f"outputs      {report.folder}")
    screen.print("[bold]ctr-pipeline show RUN[/bold] tells all of it, [bold]ctr-pipeline ui[/bold] compares runs")


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
        "metrics": dict(report.metrics),
        "report": None,
        "outputs": str(report.folder),
        "tracking_uri": report.tracking_uri,
        "wall_s": report.wall_s,
    }


def _metrics_table(report: RunReport) -> Table:
    first = next(iter(report.estimates.values()))
    title = f"test split: {first['n_rows']:,} impressions, {first['n_clicks']:,} clicks"
    table = Table(title=title, title_justify="left")
    for name, justify in (("metric", "left"), ("value", "right"), ("95 % interval", "right"), ("", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type] # rich's literal type, from a loop
    for name, meaning in _SHOWN:
        estimate = report.estimates.get(name)
        if estimate is not None and estimate["value"] is not None:
            interval = "" if estimate["low"] is None else f"{estimate['low']:.5g} to {estimate['high']:.5g}"
            table.add_row(name, f"{estimate['value']:.5g}", interval, meaning)
    return table


class _Bars:
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
        self._progress.start_task(self._tasks[name])
        self._progress.update(self._tasks[name], doing="starting")

    def step_moved(self, progress: StepProgress) -> None:
        task = self._tasks[progress.step]
        self._progress.update(task, completed=progress.done, total=progress.total, doing=progress.doing)

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:
        del wall_s  # the bar shows it
        task = self._tasks[name]
        self._progress.update(task, doing=status.lower())
        if status is RunStatus.FINISHED:
            self._progress.update(task, total=1, completed=1)
        self._progress.stop_task(task)
