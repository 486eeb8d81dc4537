"""``ctr-pipeline run``."""

import sys
from pathlib import Path

import click

from ctr_pipeline.cli.options import json_option


@click.command()
@click.option("--config", "-c", metavar="FILE", help="YAML file; default: configs/default.yaml, else the bundled data.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Lay one value over the config.")
@click.option("--engine", type=click.Choice(["local"]), default="local", show_default=True, help="Where steps run.")
@click.option("--no-reuse", is_flag=True, help="Run every step, whatever earlier runs have kept.")
@json_option
def run(config: str | None, overrides: tuple[str, ...], engine: str, *, no_reuse: bool, as_json: bool) -> None:
    """Preprocess, train, evaluate and track a model.

    A step whose input, code, settings and libraries are those of an earlier one reuses its output; `ctr-pipeline
    explain-reuse` says why or why not.
    """
    # Here, so that `--help` does not wait for them.
    from ctr_pipeline.cli.output import console  # noqa: PLC0415 - see above
    from ctr_pipeline.cli.run_screen import Bars, show_report  # noqa: PLC0415 - see above
    from ctr_pipeline.config_file import load_settings  # noqa: PLC0415 - see above
    from ctr_pipeline.engines.interrupt import Interrupt  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.place import default_config  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.run import UnloggedRunError, run_pipeline  # noqa: PLC0415 - see above
    from tracking.secrets import redact_url  # noqa: PLC0415 - see above

    del engine  # one choice so far
    loaded = load_settings(config or default_config(Path()), overrides)
    console().print(f"config {loaded.files[-1]}, data {redact_url(loaded.settings.data.uri)}", soft_wrap=True)
    interrupt = Interrupt()
    try:
        with interrupt.listening(), Bars(console()) as bars:
            report = run_pipeline(
                loaded, bars, start=Path.cwd(), argv=sys.argv, interrupt=interrupt, reuse=not no_reuse
            )
    except UnloggedRunError as error:
        show_report(error.report, as_json=as_json)
        raise
    show_report(report, as_json=as_json)
