"""``ctr-pipeline show``."""

from pathlib import Path
from typing import Final

import click

from ctr_pipeline.cli.options import json_option, tracker_options

SECTIONS: Final = (
    "run", "data", "preprocessing", "parameters", "code", "environment", "metrics", "slices", "recipe"
)  # fmt: skip


@click.command()
@click.argument("run")
@click.option(
    "--section", "-s", "sections", multiple=True, type=click.Choice(SECTIONS), help="Only this section; repeatable."
)
@tracker_options
@json_option
def show(run: str, sections: tuple[str, ...], config: str | None, tracking_uri: str | None, *, as_json: bool) -> None:
    """Tell what a run was made of and how well it did.

    RUN is the id of a run, of one of its steps or of its execution, the first six or more characters of one, or
    `latest`. What this machine no longer has is read from the tracker.
    """
    # Here, so that `--help` does not wait for them.
    from ctr_pipeline.cli.output import page, print_json  # noqa: PLC0415 - see above
    from ctr_pipeline.cli.show_tables import print_run  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.place import find_place  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.show import show_run  # noqa: PLC0415 - see above
    from tracking.plain import plain  # noqa: PLC0415 - see above

    view = show_run(run, find_place(Path.cwd(), config=config, tracking_uri=tracking_uri))
    chosen = sections or SECTIONS
    if as_json:
        values = plain(view)
        print_json({name: values[name] for name in (*chosen, "notes")})
    else:
        print_run(page(), view, chosen)
