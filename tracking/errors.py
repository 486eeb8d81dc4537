"""Errors that a user can act on: one line that names the thing, its value, the rule and the remedy.

The command line prints the line and leaves with `exit_code`; a traceback is shown under `--debug` only.
"""

from typing import ClassVar


class ProblemError(Exception):
    """Something that the user, not the programmer, can mend."""

    exit_code: ClassVar[int] = 1


class InputError(ProblemError):
    """Wrong usage or bad input: a setting, a file, an identifier."""

    exit_code: ClassVar[int] = 2


class JobError(ProblemError):
    """A step failed or was ended from outside."""


class TrackingError(ProblemError):
    """The tracker or the store could not be reached, or refused what it was given."""
