"""Hold the branches alone to `fail_under`: coverage's own figure mixes them with lines, which are easier to reach.

python scripts/check_branch_coverage.py .ci/out/coverage.json
"""

import json
import sys
import tomllib
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def branch_rate(report: Path) -> float:
    """Return the covered share of branches, 0 to 100, of a report written by `coverage json`."""
    totals = json.loads(report.read_text(encoding="utf-8"))["totals"]
    return float(totals["percent_branches_covered"])


def main(report: Path) -> int:
    """Print the share of covered branches; return 1 where it is below `fail_under`, else 0."""
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    least = float(settings["tool"]["coverage"]["report"]["fail_under"])
    covered = branch_rate(report)
    print(f"branches covered: {covered:.1f} %, must be >= {least:g} %")
    return int(covered < least)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
