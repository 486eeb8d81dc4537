"""`doctor`: finds what crashes, kills and deletions have left, says what to do, and mends what is safe to mend."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ctr_pipeline.workflows.diagnosis import Finding
from ctr_pipeline.workflows.doctor_data import data_findings
from ctr_pipeline.workflows.doctor_executions import execution_findings, run_findings
from ctr_pipeline.workflows.doctor_machine import machine_findings, server_findings
from ctr_pipeline.workflows.place import Place
from tracking.errors import ProblemError
from tracking.tracker import Tracker

__all__ = ["Diagnosis", "Finding", "diagnose", "mend"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was found.

    Attributes:
        findings: in the order in which they are to be mended.
    """

    findings: tuple[Finding, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is left to mend."""
        return all(finding.mended for finding in self.findings)


def diagnose(place: Place, *, now_s: float, deep: bool = False) -> Diagnosis:
    """Look at a home, its tracker and the machine; nothing is changed.

    Args:
        place: what to look at.
        now_s: the time, in seconds since 1970.
        deep: read every stored object and compare it with its digest.
    """
    found = [*execution_findings(place, now_s=now_s)]
    tracker, problems = _tracker(place)
    found += problems
    if tracker is not None:
        found += _asked(lambda: run_findings(place, tracker))
    found += data_findings(place, tracker, deep=deep)
    found += machine_findings(place, now_s=now_s)
    return Diagnosis(tuple(found))


def mend(diagnosis: Diagnosis) -> Diagnosis:
    """Do what is safe: remove half-written files, mark dead executions; finished outputs stay.

    A mending that fails leaves its finding as it was.
    """
    return Diagnosis(tuple(_mended(finding) for finding in diagnosis.findings))


def _mended(finding: Finding) -> Finding:
    if finding.mending is None:
        return finding
    try:
        finding.mending()
    except (ProblemError, OSError) as error:
        return replace(finding, remedy=f"{finding.remedy} (mending failed: {error})")
    return replace(finding, mended=True)


def _tracker(place: Place) -> tuple[Tracker | None, Sequence[Finding]]:
    if place.is_local and not place.has_database:
        return None, ()
    try:
        tracker = place.tracker()
        tracker.runs(limit=1)
    except ProblemError as error:
        return None, (Finding("tracker", place.shown_uri, str(error), "see the message"),)
    return tracker, tuple(server_findings(place))


def _asked(question: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(question())
    except ProblemError as error:
        return [Finding("tracker", "tracker", str(error), "see the message")]
