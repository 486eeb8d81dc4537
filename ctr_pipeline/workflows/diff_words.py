"""A comparison of two runs in a few words: the sentence on top, and a line for each part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ctr_pipeline.report.numbers import counted
from ctr_pipeline.workflows.diff_parts import DataDiff, FittedDiff, MetricsDiff
from ctr_pipeline.workflows.diff_view import RunDiff

type Told = Literal["equal", "different", "unknown"]

_SHOWN_NAMES: Final = 3
_MADE_OF: Final = ("Settings", "Data", "Code", "Environment")


@dataclass(frozen=True, slots=True)
class PartLine:
    """A part in a line."""

    name: str
    told: Told
    note: str


def part_lines(diff: RunDiff) -> tuple[PartLine, ...]:
    """Return a line for each part, results first, then what went in, then what came out."""
    found = diff.differing()
    told: tuple[tuple[str, str, str | None], ...] = (
        ("Metrics", _metrics(found.metrics), found.metrics.unavailable),
        ("Settings", _some(len(found.settings), "key"), None),
        ("Data", _data(found.data), found.data.unavailable if found.data.same_rows is None else None),
        ("Code", _code(found), found.code.unavailable if not found.code.same_code else None),
        ("Environment", _environment(found), None),
        ("Preprocessing", _fitted(found.preprocessing), found.preprocessing.unavailable),
        ("Training", _training(found), found.training.unavailable),
        ("Outputs", _outputs(diff), None if diff.outputs else "no outputs are recorded"),
    )
    return tuple(
        PartLine(name, "different" if note else "unknown" if reason else "equal", note or _unknown(reason))
        for name, note, reason in told
    )


def lead(diff: RunDiff) -> str:
    """Return what the comparison comes to, in a sentence or two."""
    if diff.is_same_run:
        return "A run compared with itself: nothing differs."
    lines = {line.name: line for line in part_lines(diff)}
    unequal = [f"{name.lower()} ({lines[name].note})" for name in _MADE_OF if lines[name].told == "different"]
    same = [name.lower() for name in _MADE_OF if lines[name].told == "equal"]
    made = f"They differ in {_listed(unequal)}" if unequal else "They were made of the same"
    if unequal and same:
        made += f"; {_listed(same)} {'are' if len(same) > 1 or same == ['settings'] else 'is'} the same"
    return f"{made}. {_result(diff)}"


def _result(diff: RunDiff) -> str:
    metrics = diff.metrics
    if metrics.unavailable is not None:
        return "Their metrics cannot be compared."
    if metrics.pairing is None:
        return "Their test rows are not paired, so that their metrics stand side by side without a verdict."
    if all(change.is_equal for change in metrics.metrics):
        return "Every metric is equal."
    better = [change.name for change in metrics.metrics if change.finding == "better"]
    worse = [change.name for change in metrics.metrics if change.finding == "worse"]
    rows = f"On the same {metrics.pairing.n_rows:,} test rows"
    if not better and not worse:
        return f"{rows}, no metric tells them apart from chance."
    parts = [f"{word} in {_some_names(names)}" for word, names in (("better", better), ("worse", worse)) if names]
    return f"{rows}, B is {' and '.join(parts)}; no other difference stands out from chance."


def _metrics(metrics: MetricsDiff) -> str:
    clear = [change for change in metrics.metrics if change.finding in {"better", "worse", "moved"}]
    if metrics.pairing is None:
        return "on other test rows" if metrics.metrics else ""
    if not metrics.metrics:
        return ""
    return f"{len(clear)} of {len(metrics.metrics)} beyond chance" if clear else "none beyond chance"


def _data(data: DataDiff) -> str:
    if data.same_rows is not False:
        return "same rows, other files" if data.files else ""
    parts = [_some(len(data.columns), "column")] if data.columns else []
    if data.association_changed:
        parts.append("values moved between rows")
    return ", ".join(parts) or "other rows"


def _code(found: RunDiff) -> str:
    files = _some(len(found.code.patches), "file")
    if found.code.same_code:
        return f"{files}, none that steps import" if files else ""
    return files or "digest differs"


def _environment(found: RunDiff) -> str:
    parts = [change.name.replace(" digest", "") for change in found.environment]
    parts += [_some(len(found.packages), "package")] if found.packages else []
    return ", ".join(parts)


def _fitted(fitted: FittedDiff) -> str:
    parts = (
        _some(len(fitted.features), "feature"),
        _some(len(fitted.statistics), "statistic"),
        "" if fitted.features or fitted.statistics else _some(len(fitted.facts), "value"),
    )
    return ", ".join(part for part in parts if part)


def _training(found: RunDiff) -> str:
    rounds = next((change for change in found.training.facts if change.name == "best round"), None)
    if rounds is not None:
        return f"best round {rounds.a} → {rounds.b}"
    return _some(len(found.training.facts), "value") or ("importance" if found.training.importance else "")


def _outputs(diff: RunDiff) -> str:
    unequal = [change for change in diff.outputs if not change.is_equal]
    return f"{len(unequal)} of {counted(len(diff.outputs), 'layer')}" if unequal else ""


def _some(n: int, noun: str) -> str:
    return counted(n, noun) if n else ""


def _unknown(reason: str | None) -> str:
    return "the same" if reason is None else "not known"


def _some_names(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return _listed(names) if more <= 0 else f"{', '.join(names[:_SHOWN_NAMES])} and {more} more"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
