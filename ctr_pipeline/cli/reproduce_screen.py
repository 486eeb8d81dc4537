"""What a person sees of ``ctr-pipeline reproduce``: how far it is, and the plan of ``--check-only``."""

from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape

from ctr_pipeline.cli.output import page
from ctr_pipeline.cli.run_screen import Bars
from ctr_pipeline.cli.show_tables import table
from ctr_pipeline.engines.attempt import StepProgress
from ctr_pipeline.reproduce.workflow import Reproduction
from tracking.records import RunStatus

_DIGEST_SHOWN: Final = 40


class ReproductionBars:
    """A line for each phase, and a bar for each step while the steps run."""

    def __init__(self, screen: Console) -> None:
        """Show nothing yet."""
        self._screen = screen
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.__exit__(kind, error, trace)

    def doing(self, what: str) -> None:
        """Print a phase's line."""
        self._screen.print(f"{what} ...", style="dim")

    def step_began(self, name: str) -> None:
        """Start a step's bar; before the first one, show them all."""
        if self._bars is None:
            self._bars = Bars(self._screen).__enter__()
        self._bars.step_began(name)

    def step_moved(self, progress: StepProgress) -> None:
        """Move a step's bar."""
        if self._bars is not None:
            self._bars.step_moved(progress)

    def step_ended(self, name: str, status: RunStatus, wall_s: float) -> None:
        """Stop a step's bar."""
        if self._bars is not None:
            self._bars.step_ended(name, status, wall_s)


def show_plan(found: Reproduction) -> None:
    """Print a plan of which nothing is missing, on standard output."""
    screen = page()
    made = table("ingredient", "", "recorded", "found")
    for item in found.ingredients:
        state = "[green]ready[/green]" if item.ready else "[red]missing[/red]"
        made.add_row(item.name, state, escape(item.wanted[:_DIGEST_SHOWN]), escape(item.found))
    screen.print(made)
    screen.print(
        f"run {found.original}: grade {found.grade or 'unknown'}; everything is there to redo it", soft_wrap=True
    )
    for missing in found.grade_missing:
        screen.print(f"no grade A: {missing}", style="dim", soft_wrap=True)
