"""``ctr-pipeline reproduce``, also as ``python -m ctr_pipeline.reproduce``."""

import sys
from pathlib import Path

import click

from ctr_pipeline.cli.options import json_option, tracker_options


@click.command()
@click.option("--run-id", required=True, metavar="RUN", help="An id of the run, its start, or `latest`.")
@click.option("--check-only", is_flag=True, help="Look every ingredient up and verify it; compute nothing.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Deviate deliberately from a setting.")
@click.option("--data", metavar="DATA", help="Other data: `latest`, a URI, or a pinned data version.")
@click.option(
    "--preprocess",
    type=click.Choice(["refit", "freeze"]),
    default="refit",
    show_default=True,
    help="On other data: fit everything anew, or keep encoder and model as they were.",
)
@click.option("--use-current-code", is_flag=True, help="Run the project's code as it is now.")
@click.option("--use-current-env", is_flag=True, help="Run in this environment instead of rebuilding the recorded one.")
@click.option("--use-current-data", is_flag=True, help="Read the run's input as it is now instead of the pinned copy.")
@click.option("--use-current-settings", is_flag=True, help="Take today's configuration instead of the settings.")
@click.option("--store", metavar="URI", help="Where pinned data are looked for first: a folder or s3://bucket/prefix.")
@tracker_options
@json_option
def reproduce(
    run_id: str,
    *,
    check_only: bool,
    overrides: tuple[str, ...],
    data: str | None,
    preprocess: str,
    use_current_code: bool,
    use_current_env: bool,
    use_current_data: bool,
    use_current_settings: bool,
    store: str | None,
    config: str | None,
    tracking_uri: str | None,
    as_json: bool,
) -> int:
    """Redo a run from its recipe and say with proof whether it came out the same.

    Exit codes: 0 IDENTICAL (or NEW_DATA, or all is there with --check-only), 3 EQUIVALENT, 4 DIVERGED, 5 CANNOT.
    """
    # Here, so that `--help` does not wait for them.
    from ctr_pipeline.cli.output import console, print_json  # noqa: PLC0415 - see above
    from ctr_pipeline.cli.reproduce_screen import ReproductionBars, show_plan  # noqa: PLC0415 - see above
    from ctr_pipeline.cli.verdict_screen import show_judgement  # noqa: PLC0415 - see above
    from ctr_pipeline.engines.interrupt import Interrupt  # noqa: PLC0415 - see above
    from ctr_pipeline.reproduce.request import Request  # noqa: PLC0415 - see above
    from ctr_pipeline.reproduce.workflow import reproduce as redo  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.place import find_place, load_config  # noqa: PLC0415 - see above

    request = Request(
        run_id=run_id,
        start=Path.cwd(),
        argv=tuple(sys.argv),
        use_current_env=use_current_env,
        use_current_code=use_current_code,
        use_current_data=use_current_data,
        current_settings=load_config(Path.cwd(), config).settings if use_current_settings else None,
        data=data,
        preprocess="freeze" if preprocess == "freeze" else "refit",
        overrides=overrides,
        store=store,
        check_only=check_only,
    )
    place = find_place(Path.cwd(), config=config, tracking_uri=tracking_uri)
    interrupt = Interrupt()
    with interrupt.listening(), ReproductionBars(console()) as bars:
        found = redo(request, place, bars, interrupt)
    if found.judgement is not None:
        show_judgement(found.judgement, as_json=as_json)
        if found.page is not None:
            console().print(f"the verdict's page: {found.page}", soft_wrap=True)
    elif as_json:
        print_json(found.plan_record())
    else:
        show_plan(found)
    if found.unlogged is not None:
        raise found.unlogged
    return found.exit_code
