"""``ctr-pipeline diff``."""

from pathlib import Path

import click

from ctr_pipeline.cli.options import json_option, tracker_options


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--all", "everything", is_flag=True, help="Also what is equal.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown, for a pull request.")
@click.option("--html", "html", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write a page.")
@tracker_options
@json_option
def diff(
    a: str,
    b: str,
    config: str | None,
    tracking_uri: str | None,
    html: Path | None,
    *,
    everything: bool,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Tell what differs between two runs, and whether it matters.

    A and B are ids of runs, their first six or more characters, or `latest`. Where both runs were tested on the same
    rows, differences of metrics come with a paired interval.
    """
    if as_json and as_markdown:
        raise click.UsageError("--json and --markdown print different things: give one of them")
    # Here, so that `--help` does not wait for them.
    from ctr_pipeline.cli.diff_tables import print_diff  # noqa: PLC0415 - see above
    from ctr_pipeline.cli.output import page, print_json  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.diff import diff_runs  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.place import find_place  # noqa: PLC0415 - see above

    found = diff_runs(a, b, find_place(Path.cwd(), config=config, tracking_uri=tracking_uri))
    if html is not None:
        from ctr_pipeline.workflows.diff_page import diff_page, write_page  # noqa: PLC0415 - figures take long

        write_page(html, diff_page(found, everything=everything))
        click.echo(f"wrote {html}", err=True)
    if as_json:
        print_json((found if everything else found.differing()).to_record())
    elif as_markdown:
        from ctr_pipeline.workflows.diff_markdown import diff_markdown  # noqa: PLC0415 - see above

        click.echo(diff_markdown(found, everything=everything), nl=False)
    elif html is None:
        print_diff(page(), found, everything=everything)
