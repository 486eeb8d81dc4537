"""``ctr-pipeline doctor``."""

import time
from pathlib import Path

import click

from ctr_pipeline.cli.options import json_option, tracker_options


@click.command()
@click.option("--fix", is_flag=True, help="Mend what is safe; finished outputs are never touched.")
@click.option("--deep", is_flag=True, help="Read every pinned file and compare it with its digest.")
@tracker_options
@json_option
def doctor(config: str | None, tracking_uri: str | None, *, fix: bool, deep: bool, as_json: bool) -> int:
    """Find what crashes, kills and deletions have left.

    Leaves with 0 when all is well or mended, with 1 when something is found.
    """
    # Here, so that `--help` does not wait for them.
    from ctr_pipeline.cli.output import console, page, print_json  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.doctor import diagnose, mend  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.place import find_place  # noqa: PLC0415 - see above

    place = find_place(Path.cwd(), config=config, tracking_uri=tracking_uri)
    with console().status("examining"):
        diagnosis = diagnose(place, now_s=time.time(), deep=deep)
        diagnosis = mend(diagnosis) if fix else diagnosis
    if as_json:
        keys = ("kind", "subject", "problem", "remedy", "can_be_mended", "mended")
        found = [{key: getattr(finding, key) for key in keys} for finding in diagnosis.findings]
        print_json({"healthy": diagnosis.is_healthy, "findings": found})
    else:
        screen = page()
        for finding in diagnosis.findings:
            screen.print(f"[bold]{finding.kind}[/bold] {finding.subject}", soft_wrap=True)
            screen.print(f"  {finding.problem}", markup=False)
            screen.print("  mended" if finding.mended else f"  {finding.remedy}", markup=False)
        n_mended = sum(finding.mended for finding in diagnosis.findings)
        said = f"{len(diagnosis.findings)} found, {n_mended} mended" if diagnosis.findings else "all is well"
        screen.print(said)
    return 0 if diagnosis.is_healthy else 1
