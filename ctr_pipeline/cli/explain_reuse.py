"""``ctr-pipeline explain-reuse``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctr_pipeline.cli.options import json_option

if TYPE_CHECKING:
    from ctr_pipeline.workflows.reuse_explained import StepOutlook


@click.command("explain-reuse")
@click.argument("run", required=False)
@click.option("--config", "-c", metavar="FILE", help="YAML file; default: configs/default.yaml, else the bundled data.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Lay one value over the config.")
@json_option
def explain_reuse(run: str | None, config: str | None, overrides: tuple[str, ...], *, as_json: bool) -> None:
    """Tell which steps a run reuses, and what changed for the others.

    Without RUN, of the run that `ctr-pipeline run` would start now with the same options; nothing is computed. With
    RUN, as `show` takes it, of that past run, as it was decided then.
    """
    # Here, so that `--help` does not wait for them.
    from ctr_pipeline.cli.output import page, print_json  # noqa: PLC0415 - see above
    from ctr_pipeline.config_file import load_settings  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.place import default_config, find_place  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.reuse_explained import explain_next, explain_run  # noqa: PLC0415 - see above
    from tracking.errors import InputError  # noqa: PLC0415 - see above
    from tracking.plain import plain  # noqa: PLC0415 - see above

    start = Path.cwd()
    if run is not None:
        if overrides:
            raise InputError("--set goes with the next run, must not stand beside a past RUN; leave one out")
        outlooks = explain_run(run, find_place(start, config=config))
    else:
        outlooks = explain_next(load_settings(config or default_config(start), overrides), start)
    if as_json:
        print_json({"run": run, "steps": {outlook.step: plain(outlook) for outlook in outlooks}})
        return
    screen = page()
    for outlook in outlooks:
        for line in _lines(outlook):
            screen.print(line, soft_wrap=True, markup=False)


def _lines(outlook: "StepOutlook") -> list[str]:
    """Return a step's paragraph: the verdict, then what changed."""
    from ctr_pipeline.data.splits import utc_text  # noqa: PLC0415 - as above

    head = f"{outlook.step:<11}{outlook.verdict}"
    if outlook.origin is not None:
        made = utc_text(outlook.origin.made_ms * 1000)[:19]
        head += f"   the output of {outlook.origin.execution_id}, made {made} UTC"
    elif outlook.compared_with is not None:
        head += f"   compared with {outlook.compared_with}"
    return [head, *(f"{'':<11}- {line}" for line in (*outlook.why, *outlook.warnings))]
