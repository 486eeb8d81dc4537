"""``ctr-pipeline ui``."""

import os
import sys
from pathlib import Path

import click

from ctr_pipeline.cli.options import json_option, tracker_options


@click.command()
@click.option("--port", type=click.IntRange(1, 65_535), help="Must be free; default: 5000, or a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--experiment", metavar="NAME", help="Whose page is opened; default: the config's.")
@click.option("--no-browser", is_flag=True, help="Only print the URL.")
@tracker_options
@json_option
def ui(
    port: int | None,
    host: str,
    experiment: str | None,
    config: str | None,
    tracking_uri: str | None,
    *,
    no_browser: bool,
    as_json: bool,
) -> None:
    """Compare runs in the MLflow UI, until Ctrl-C.

    Where the tracker is a server already, its page is opened.
    """
    # Here, so that `--help` does not wait for them.
    from ctr_pipeline.cli.output import console, page, print_json  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.place import find_place, load_config  # noqa: PLC0415 - see above
    from ctr_pipeline.workflows.ui import serve_ui  # noqa: PLC0415 - see above

    here = Path.cwd()
    place = find_place(here, config=config, tracking_uri=tracking_uri)
    chosen = experiment or load_config(here, config).settings.tracking.experiment
    with console().status("starting the MLflow UI") as status:
        try:
            with serve_ui(place, chosen, host=host, port=port) as server:
                status.stop()
                if as_json:
                    print_json({"url": server.url, "tracking_uri": place.shown_uri})
                    sys.stdout.flush()
                else:
                    page().print(server.url, soft_wrap=True)
                if server.process is not None:
                    console().print("Ctrl-C ends it")
                if not no_browser and _has_screen():
                    click.launch(server.url)
                server.wait()
        except KeyboardInterrupt:
            return


def _has_screen() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
