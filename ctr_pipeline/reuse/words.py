"""What a changed part of a key is called, in words for people."""

from collections.abc import Iterable, Iterator
from typing import Final

from ctr_pipeline.reuse.key import (
    CODE,
    DATA_FILES,
    DATA_VERSION,
    INPUT,
    LIBRARIES,
    LOCK,
    MACHINE,
    OWN_CODE,
    SETTINGS,
    Change,
)

# Digests are told by their beginnings.
_SHOWN: Final = 12
_LONGEST: Final = 60


def in_words(changes: Iterable[Change]) -> Iterator[str]:
    """Yield a line for each change that tells a person something."""
    told = tuple(changes)
    names = {(change.part, change.name) for change in told}
    for change in told:
        # Other rows are in other files anyway.
        if change.part == INPUT and change.name == DATA_FILES and (INPUT, DATA_VERSION) in names:
            continue
        yield _line(change)


def _line(change: Change) -> str:
    if change.part in (CODE, OWN_CODE):
        return f"{change.part} {change.name.removeprefix('project:')} {_how(change)}"
    if change.part == INPUT:
        return _of_input(change)
    if change.part == LIBRARIES and change.name == LOCK:
        return "libraries: the lock file, or what is installed against it, changed"
    kind = {SETTINGS: "setting", LIBRARIES: "library", MACHINE: "machine"}.get(change.part, change.part)
    return f"{kind} {change.name}: {_text(change.old)} -> {_text(change.new)}"


def _of_input(change: Change) -> str:
    if change.name == DATA_VERSION:
        return f"data version {_short(change.old)} -> {_short(change.new)}"
    if change.name == DATA_FILES:
        return "data: the same rows in other files"
    return f"input {change.name} {_how(change)}"


def _how(change: Change) -> str:
    if change.old is None:
        return "added"
    return "removed" if change.new is None else "changed"


def _short(text: str | None) -> str:
    return "none" if text is None else text[:_SHOWN]


def _text(text: str | None) -> str:
    if text is None:
        return "none"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
