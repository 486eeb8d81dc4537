"""A run as tables for the terminal, from eighty columns and below to wide ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ctr_pipeline.workflows.run_view import (
    CategoryView,
    EstimateView,
    FeatureView,
    PreprocessingView,
    RunView,
    StatisticView,
)

_SHOWN_IMPORTANCE: Final = 10
_SHOWN_SLICES: Final = 15
_WIDE: Final = 80
_SHOWN_CATEGORIES: Final = 12
_COUNTS: Final = {"n_rows", "n_clicks"}

type Pairs = Iterable[tuple[str, object]]


def print_run(screen: Console, view: RunView, sections: Sequence[str]) -> None:
    """Print the chosen sections of a run."""
    for name in sections:
        screen.print(Text(name, style="bold"))
        _PRINTERS[name](screen, view)
        screen.print()
    for note in view.notes:
        screen.print(Text(note, style="yellow"))


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; a column whose name starts with `>` holds numbers."""
    made = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    return made


def pairs(values: Pairs) -> Table:
    """Return names and values below each other; what has no value is left out."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in values:
        if value is not None and value not in ("", ()):
            made.add_row(name, escape(str(value)))
    return made


def _run(screen: Console, view: RunView) -> None:
    run = view.run
    screen.print(
        pairs(
            [
                ("run", run.run_id or "not logged"),
                ("execution", run.execution_id),
                ("asked for", f"its step {run.step}" if run.step else None),
                ("name", run.name),
                ("experiment", run.experiment),
                ("status", run.status),
                ("failure", run.failure),
                ("started", run.started_utc),
                ("ended", run.ended_utc),
                ("by", f"{run.user or '?'} on {run.host or '?'}"),
                ("command", " ".join(run.command)),
                ("tracker", run.tracking_uri),
                ("outputs", run.outputs or "not on this machine"),
            ]
        )
    )
    steps = table("step", "status", ">seconds", "run")
    for step in run.steps:
        steps.add_row(step.name, step.status, _number(step.wall_s), step.run_id or "")
    screen.print(steps)


def _data(screen: Console, view: RunView) -> None:
    data = view.data
    pinned = {True: ", all of it there", False: ", files are MISSING there", None: ""}[data.pinned_here]
    screen.print(
        pairs(
            [
                ("name", data.name),
                ("version", data.version),
                ("source", data.source_uri),
                ("rows", _count(data.n_rows)),
                ("columns", _count(len(data.columns) or None)),
                ("time range", " to ".join(data.time_range)),
                ("pinned in", f"{data.pinned_uri}{pinned}" if data.pinned_uri else "nowhere"),
            ]
        )
    )
    files = table("file", ">rows", ">bytes", "sha256")
    for file in data.files:
        files.add_row(escape(file.path), _count(file.n_rows), _count(file.size), file.sha256[:16])
    splits = table("split", ">rows", ">clicks", "digest")
    for split in data.splits:
        splits.add_row(split.name, _count(split.n_rows), _count(split.n_clicks), split.digest[:16])
    columns = table("column", "type", "role")
    for column in data.columns:
        columns.add_row(escape(column.name), column.type, escape(column.role or "not used"))
    _print_filled(screen, files, splits)
    screen.print(pairs(data.windows.items()))
    _print_filled(screen, columns)


def _preprocessing(screen: Console, view: RunView) -> None:
    fitted = view.preprocessing
    if fitted is None:
        screen.print("no fitted preprocessing: the preprocess step did not finish, or its outputs are gone")
        return
    screen.print(pairs(_prior(fitted)))
    features = table("feature", "kind", "fitted values")
    for feature in fitted.features:
        features.add_row(escape(feature.name), feature.kind, escape(_fitted(feature)))
    screen.print(features)
    for statistic in fitted.statistics:
        screen.print(_statistic(statistic))


def _prior(fitted: PreprocessingView) -> Iterator[tuple[str, object]]:
    rate = fitted.clicks / fitted.impressions if fitted.impressions else 0.0
    yield "own function", fitted.custom
    yield "training", f"{fitted.clicks:,} clicks of {fitted.impressions:,} impressions ({rate:.4%})"
    yield "prior", f"{fitted.prior:.4%} ({fitted.prior_rate:.4%} worth {fitted.prior_weight:g} impressions, then data)"
    yield "smoothing", f"the prior is worth {fitted.smoothing:g} impressions of each category"
    yield "statistics", {"time": "from earlier periods", "kfold": "from the other folds"}.get(fitted.scheme or "")
    yield "rare", f"below {fitted.rare_impressions} impressions"


def _fitted(feature: FeatureView) -> str:
    if feature.kind == "native":
        more = len(feature.categories) - _SHOWN_CATEGORIES
        shown = ", ".join(feature.categories[:_SHOWN_CATEGORIES])
        return f"{shown} and {more} more" if more > 0 else shown
    if feature.low is None and feature.high is None:
        return ""
    return f"clipped to {_bound(feature.low, 'below')} .. {_bound(feature.high, 'above')}"


def _bound(bound: float | None, side: str) -> str:
    return f"open {side}" if bound is None else f"{bound:g}"


def _statistic(statistic: StatisticView) -> Table:
    rare = f", {statistic.n_rare:,} of them rare" if statistic.n_rare else ""
    title = f"{' x '.join(statistic.columns)}: {statistic.n_categories:,} categories{rare}"
    made = table("", "category", ">clicks", ">impressions", ">rate", title=f"[bold]{escape(title)}[/bold]")
    named: tuple[tuple[str, tuple[CategoryView, ...]], ...] = (
        ("most frequent", statistic.most_frequent),
        ("highest rate", statistic.highest_rate),
        ("lowest rate", statistic.lowest_rate),
    )
    for label, categories in named:
        for place, found in enumerate(categories):
            made.add_row(
                "" if place else label,
                escape(found.category),
                _count(found.clicks),
                _count(found.impressions),
                f"{found.rate:.4%}",
            )
    return made


def _parameters(screen: Console, view: RunView) -> None:
    parameters = view.parameters
    if parameters.best_round is not None:
        screen.print(f"best round {parameters.best_round} of {parameters.rounds_run}")
    if parameters.importance:
        ranked = table("feature", ">total gain")
        for name, gain in list(parameters.importance.items())[:_SHOWN_IMPORTANCE]:
            ranked.add_row(escape(name), _number(gain))
        screen.print(ranked)
    settings = table("setting", "value", "")
    for key, value in parameters.settings.items():
        settings.add_row(escape(key), escape(value), "set" if key in parameters.changed else "")
    screen.print(settings)
    screen.print(pairs((f"booster.{key}", value) for key, value in parameters.booster.items()))


def _code(screen: Console, view: RunView) -> None:
    code = view.code
    screen.print(
        pairs(
            [
                ("version", code.version),
                ("commit", f"{code.commit}{'' if code.pushed else ', not pushed'}" if code.commit else "none"),
                ("branch", code.branch),
                ("remote", code.remote),
                ("tree", ("differed from the commit" if code.dirty else "as committed") if code.commit else None),
                ("code digest", code.digest),
                ("snapshot", f"{code.snapshot_digest} ({_count(code.n_files) or '?'} files)"),
                *((f"submodule {path}", commit or "none") for path, commit in code.submodules.items()),
            ]
        )
    )
    for file in code.left_out:
        screen.print(Text(f"not in the snapshot: {file}"))
    if code.patch:
        screen.print(Text("uncommitted:", style="dim"))
        for line in code.patch.splitlines():
            screen.print(Text(line, style=_line_style(line)))


def _line_style(line: str) -> str:
    if line.startswith(("+++", "---", "diff ")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")


def _environment(screen: Console, view: RunView) -> None:
    environment = view.environment
    cores = f"{environment.cpu or '?'}, {environment.n_cores or '?'} cores"
    screen.print(
        pairs(
            [
                ("python", environment.python_version),
                *environment.key_packages.items(),
                ("packages", f"{len(environment.packages)} in all; --json lists them"),
                ("lock", environment.lock_path or "none"),
                ("lock digest", environment.lock_digest),
                ("image", environment.image_digest),
                ("platform", environment.platform),
                ("processor", cores),
                ("GPUs", ", ".join(environment.gpus)),
                ("time zone", environment.timezone),
                *((f"${name}", value) for name, value in environment.variables.items()),
                *((f"${name} (config)", value) for name, value in environment.config_variables.items()),
            ]
        )
    )


def _metrics(screen: Console, view: RunView) -> None:
    metrics = view.metrics
    if metrics is None:
        screen.print("no metrics: the evaluate step did not finish, or its outputs are gone")
        return
    first = metrics.estimates[0]
    screen.print(f"test split: {first.n_rows:,} impressions, {first.n_clicks:,} clicks")
    made = table("metric", ">value", "interval")
    for estimate in metrics.estimates:
        if estimate.value is not None and estimate.name not in _COUNTS:
            made.add_row(estimate.name, _number(estimate.value), _interval(estimate))
    made.columns[1].no_wrap = True
    screen.print(made)
    for estimate in metrics.estimates:
        if estimate.value is None:
            screen.print(f"{estimate.name}: none, {estimate.reason}")
    screen.print(
        f"intervals: {metrics.level:.0%}, bootstrap over {metrics.n_units:,} {metrics.unit}s, "
        f"{metrics.n_replicates} replicates"
    )


def _slices(screen: Console, view: RunView) -> None:
    if not view.slices:
        screen.print("no slices: evaluate.slices names none, or none has enough clicks")
        return
    wide = ("interval", ">logloss") if screen.width >= _WIDE else ()
    made = table("slice, worst first", ">rows", ">clicks", ">calibration", ">excess", *wide)
    for part in view.slices[:_SHOWN_SLICES]:
        cells = [
            escape(f"{part.column} = {'null' if part.value is None else part.value}"),
            _count(part.n_rows),
            _count(part.n_clicks),
            _number(part.calibration.value),
            f"{part.excess:.2g}",
        ]
        made.add_row(*cells, *((_interval(part.calibration), _number(part.logloss.value)) if wide else ()))
    screen.print(made)


def _recipe(screen: Console, view: RunView) -> None:
    recipe = view.recipe
    screen.print(
        pairs(
            [
                ("recipe digest", recipe.digest),
                ("grade", recipe.grade),
                *(("missing", text) for text in recipe.missing),
                *((f"output {layer}", digest) for layer, digest in recipe.outputs.items()),
                *((name, f"{seconds:g} s") for name, seconds in recipe.timings.items()),
            ]
        )
    )


_PRINTERS: Final[Mapping[str, Callable[[Console, RunView], None]]] = {
    "run": _run,
    "data": _data,
    "preprocessing": _preprocessing,
    "parameters": _parameters,
    "code": _code,
    "environment": _environment,
    "metrics": _metrics,
    "slices": _slices,
    "recipe": _recipe,
}


def _print_filled(screen: Console, *tables: Table) -> None:
    for made in tables:
        if made.row_count:
            screen.print(made)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _interval(estimate: EstimateView) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.4g} to {estimate.high:.4g}"
