"""One thing that is not as it should be."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found.

    Attributes:
        kind: short and stable, for scripts.
        subject: the run, file or program.
        problem: what is wrong, in words.
        remedy: what to do about it.
        mending: does it, where that is safe.
        mended: whether it is done.
    """

    kind: str
    subject: str
    problem: str
    remedy: str
    mending: Callable[[], object] | None = field(default=None, compare=False, repr=False)
    mended: bool = False

    @property
    def can_be_mended(self) -> bool:
        """Whether `doctor --fix` mends it."""
        return self.mending is not None
