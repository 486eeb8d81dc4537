"""Does XGBoost lose by threads that sleep while they wait (`OMP_WAIT_POLICY=PASSIVE`, what steps set)?

Trains the same small model in processes of its own under both policies, on an idle machine and beside busy processes
(one per core), interleaved; prints medians and ratios. Run it on an otherwise idle machine, with bytecode compiled:

    uv run python benchmarks/bench_waiting_threads.py
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import time

REPEATS = 5
TRAIN = """
import time, numpy, xgboost
rng = numpy.random.default_rng(1)
rows = rng.normal(size=(45_000, 24)).astype(numpy.float32)
clicks = (rng.random(45_000) < 0.05).astype(numpy.uint8)
data = xgboost.QuantileDMatrix(rows, clicks)
began = time.monotonic()
xgboost.train({"objective": "binary:logistic", "max_depth": 4}, data, num_boost_round=40)
print(time.monotonic() - began)
"""


def seconds(policy: str) -> float:
    """Return the seconds of one training in a process of its own."""
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    done = subprocess.run([sys.executable, "-c", TRAIN], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def spin() -> None:
    """Keep a core busy until ended."""
    while True:
        time.perf_counter()


def measured(title: str) -> None:
    """Print the medians of both policies, interleaved."""
    figures: dict[str, list[float]] = {"ACTIVE": [], "PASSIVE": []}
    for _ in range(REPEATS):
        for policy, found in figures.items():
            found.append(seconds(policy))
    active, passive = (statistics.median(figures[policy]) for policy in ("ACTIVE", "PASSIVE"))
    print(f"{title:<34} spinning {active:6.2f} s   asleep {passive:6.2f} s   ratio {active / passive:5.2f}")


def main() -> None:
    """Measure on an idle machine, then beside one busy process per core."""
    measured("idle machine")
    busy = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for process in busy:
        process.start()
    measured(f"beside {len(busy)} busy processes")
    for process in busy:
        process.terminate()


if __name__ == "__main__":
    main()
