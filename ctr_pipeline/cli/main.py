"""The command line's entry: which command lives in which module. A module is imported when its command is called."""

import importlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

import click

from tracking.errors import ProblemError

# command: (module, attribute, one line of help). The help stands here so that `--help` imports no command.
_COMMANDS: Final = {
    "run": ("ctr_pipeline.cli.run", "run", "Preprocess, train, evaluate and track a model."),
    "show": ("ctr_pipeline.cli.show", "show", "Tell what a run was made of and how well it did."),
    "diff": ("ctr_pipeline.cli.diff", "diff", "Tell what differs between two runs, and whether it matters."),
    "reproduce": (
        "ctr_pipeline.cli.reproduce",
        "reproduce",
        "Redo a run from its recipe, and prove that it is the same or say what differs.",
    ),
    "explain-reuse": (
        "ctr_pipeline.cli.explain_reuse",
        "explain_reuse",
        "Tell which steps a run reuses, and what changed for the others.",
    ),
    "data": ("ctr_pipeline.cli.data", "data", "Pin, show, restore and compare data versions."),
    "ui": ("ctr_pipeline.cli.ui", "ui", "Compare runs in the MLflow UI."),
    "doctor": ("ctr_pipeline.cli.doctor", "doctor", "Find what crashes, kills and deletions have left."),
    "sync": ("ctr_pipeline.cli.sync", "sync", "Send a run's outputs that the tracker does not have."),
    "gc": ("ctr_pipeline.cli.gc", "gc", "Remove outputs and pinned data that no kept run names."),
    "completion": ("ctr_pipeline.cli.completion", "completion", "Print the shell's completion script."),
}
INTERRUPTED: Final = 130


@dataclass(slots=True)
class _Wishes:
    """What holds for every command; filled while the command line is parsed."""

    debug: bool = False


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands' names, in the order of a working day."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import and return a command."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; an unknown one is told the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # noqa: PLC0415 - only for a mistyped command

            close = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            told = f"No such command {args[0]!r}: `{ctx.command_path} --help` lists them."
            raise click.UsageError(told + hint, ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from importlib import metadata  # noqa: PLC0415 - a tenth of a second that only --version needs

        click.echo(f"ctr-pipeline {metadata.version('ctr-pipeline')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:  # noqa: FBT001 - click passes options by keyword
    """From raw impressions to an evaluated, tracked, reproducible click-through-rate model.

    Every command takes --json: one JSON object on standard output, everything else on standard error. Exit codes:
    0 done, 1 a job failed, 2 wrong usage or bad input, 3 to 5 verdicts of reproduce, 130 interrupted.
    """
    ctx.ensure_object(_Wishes).debug = debug


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_exit_code(words))


def _exit_code(words: list[str]) -> int:
    wishes = _Wishes()
    try:
        code: Any = cli.main(words, prog_name="ctr-pipeline", standalone_mode=False, obj=wishes)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        click.echo(f"error: {_usage(error)}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        _tell("interrupted", error)
        return INTERRUPTED
    except ProblemError as error:
        if wishes.debug:
            raise
        _tell(f"error: {error}", error)
        return error.exit_code
    return code if isinstance(code, int) else 0


def _usage(error: click.ClickException) -> str:
    """Return a mistake on the command line in one line that names where to read on."""
    told = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    command = "ctr-pipeline" if context is None else context.command_path
    return told if "--help" in told else f"{told} (`{command} --help` tells more)"


def _tell(line: str, error: BaseException) -> None:
    click.echo(line, err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(f"       {note}", err=True)


def _interrupt(_: int, __: FrameType | None) -> None:
    # A container's stop and a scheduler's kill end a run as Ctrl-C does: marked, and nothing half-written.
    raise KeyboardInterrupt
