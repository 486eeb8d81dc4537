"""``ctr-pipeline gc``."""

import time
from pathlib import Path

import click

from ctr_pipeline.cli.options import json_option, tracker_options


@click.command()
@click.option("--older-than", default="30d", show_default=True, metavar="AGE", help="Least age, such as 30d or 12h.")
@click.option("--yes", is_flag=True, help="Remove; without it nothing is touched.")
@tracker_options
@json_option
def gc(older_than: str, config: str | None, tracking_uri: str | None, *, yes: bool, as_json: bool) -> None:
    """Remove outputs and pinned data that no kept run names.

    Lists what would go; --yes removes it. Kept are all runs in the tracker that were not deleted, and executions on
    this machine; one that is not completely logged is never touched.
    """
    # Here, so that `--help` does not wait for them.
    from ctr_pipeline.cli.output import console, page, print_json  # noqa: PLC0415 - see above
    from ctr_pipeline.cli.show_tables import table  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.gc import age_us, collect, plan_collection  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.place import find_place  # noqa: PLC0415 - see above
    from tracking.plain import plain  # noqa: PLC0415 - see above

    place = find_place(Path.cwd(), config=config, tracking_uri=tracking_uri)
    with console().status("looking for what no kept run names"):
        collection = plan_collection(place, older_than_us=age_us(older_than), now_s=time.time())
        collection = collect(collection) if yes else collection
    if as_json:
        items = [{**plain(item), "path": str(item.path)} for item in collection.items]
        print_json({"removed": collection.removed, "n_bytes": collection.n_bytes, "items": items})
        return
    made = table("what", "where", ">bytes", "why")
    for item in collection.items:
        made.add_row(item.kind, str(item.path.relative_to(place.home.path)), f"{item.n_bytes:,}", item.why)
    screen = page()
    if collection.items:
        screen.print(made)
    verb = "removed" if collection.removed else "would go; --yes removes"
    screen.print(f"{len(collection.items)} things, {collection.n_bytes:,} bytes {verb}")
