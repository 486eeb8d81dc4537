"""``ctr-pipeline sync``."""

from pathlib import Path

import click

from ctr_pipeline.cli.options import json_option, tracker_options


@click.command()
@click.argument("run", required=False)
@click.option("--all", "everything", is_flag=True, help="Every execution that is not completely logged.")
@tracker_options
@json_option
def sync(run: str | None, config: str | None, tracking_uri: str | None, *, everything: bool, as_json: bool) -> None:
    """Send a run's outputs that the tracker does not have, such as after it was away.

    RUN is an execution's id, a run's id, the start of one, or `latest`. What the tracker has already stays as it is.
    """
    # Here, so that `--help` does not wait for them.
    from ctr_pipeline.cli.output import console, page, print_json  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.place import find_place  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.sync import failed, sync_all, sync_run  # noqa: PLC0415 - see above
    from tracking.plain import plain  # noqa: PLC0415 - see above

    if (run is None) != everything:
        raise click.UsageError("Give RUN or --all, one of the two.")
    place = find_place(Path.cwd(), config=config, tracking_uri=tracking_uri)
    with console().status("sending"):
        outcomes = (sync_run(run, place),) if run else tuple(sync_all(place))
    if as_json:
        print_json({"runs": plain(outcomes)})
    else:
        screen = page()
        for outcome in outcomes:
            screen.print(f"{outcome.execution_id}  {outcome.state}  {outcome.run_id or ''}", soft_wrap=True)
        if not outcomes:
            screen.print("every execution is logged")
    problem = failed(outcomes)
    if problem is not None:
        raise problem
