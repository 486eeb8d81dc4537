"""The step server, driven over pipes: orders that come together, in halves, or end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctr_pipeline.engines import step_server


def _served(orders: Sequence[Mapping[str, Any] | bytes]) -> tuple[list[int], str]:
    """Serve orders that are all there at once; return the exit codes that are answered, and what else was said."""
    lines = (order if isinstance(order, bytes) else json.dumps(order).encode() + b"\n" for order in orders)
    # Without `-I` and with all variables, so that a coverage tool can look on.
    command = [sys.executable, str(step_server.__file__)]
    done = subprocess.run(command, input=b"".join(lines), capture_output=True, check=True, timeout=100)
    return [json.loads(line)["exit"] for line in done.stdout.splitlines()], done.stderr.decode()


def _order(folder: Path, text: str) -> dict[str, Any]:
    name = f"served_{len(list(folder.iterdir()))}"
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return {"run": name, "arguments": ["an argument"], "log": str(folder / "log")}


def test_the_server_answers_each_run_in_its_order(tmp_path: Path) -> None:
    texts = ("import sys; sys.exit(sys.argv[1])", "raise SystemExit(4)", "1 / 0", "")
    runs = [_order(tmp_path, text) for text in texts]
    kill = {"kill": signal.SIGKILL}
    imported = {"path": [str(tmp_path)], "import": ["served_1", "json"]}
    codes, said = _served([imported, runs[0], kill, *(order for run in runs[1:] for order in (run, kill))])
    # Each one is killed by the order that came with it in one block, unless it has ended before.
    assert [code in {expected, -signal.SIGKILL} for code, expected in zip(codes, (1, 4, 1, 0), strict=True)] == [
        True
    ] * 4
    assert said == "step server: served_1 cannot be imported beforehand: SystemExit(4)\n"


def test_an_order_without_a_step_to_run_is_not_answered() -> None:
    assert _served([{"import": ["json"]}, {"path": []}, {"kill": signal.SIGKILL}, b'{"half an ord']) == ([], "")


def test_the_end_of_the_orders_ends_the_step(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    waits = _order(tmp_path, f"open({str(tmp_path / 'fifo')!r}).read()")
    assert _served([{"path": [str(tmp_path)], **waits}]) == ([-signal.SIGKILL], "")
