"""Time our clustered bootstrap against a plain loop over scikit-learn's metrics, interleaved in one run.

Ours gives all metrics of the scorecard, grouped AUC and recalibrated entropy among them; the loop gives logloss, AUC
and average precision, with weights as `sample_weight`, which is faster than copying the drawn rows. Each
round times all of ours, sorting and fitting included, and some replicates of the loop, whose time per replicate is
scaled up. At the smallest size the loop runs in full, with other draws than ours, and the intervals are compared; with
the same draws the replicates themselves must agree.

    OMP_NUM_THREADS=1 python benchmarks/bench_evaluate.py [--sizes 12000 1000000] [--rounds 5]
"""

import argparse
import statistics
import time
from collections.abc import Iterable

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from ctr_pipeline.evaluation.bootstrap import Resampling, Units, draws, replicates
from ctr_pipeline.evaluation.panel import MetricChoice
from ctr_pipeline.evaluation.scored import Floats, Scored

METRICS = ("logloss", "auc", "pr_auc")
ROWS_PER_USER = 10


def simulated_log(n_rows: int, seed: int = 0) -> Scored:
    """Return a log of users with ten rows each, some 5 % clicks, and requests of five rows."""
    source = np.random.default_rng(seed)
    user = np.sort(source.integers(0, n_rows // ROWS_PER_USER, n_rows))
    margin = source.normal(-3.5, 1.0, n_rows).astype(np.float32)
    odds = margin + source.normal(0.0, 1.0, user.max() + 1)[user]
    label = (source.random(n_rows) < 1 / (1 + np.exp(-odds))).astype(np.uint8)
    probability = 1 / (1 + np.exp(-margin.astype(np.float64)))
    return Scored(label, probability, margin, cluster=user, group=np.arange(n_rows) // 5)


def plain_loop(log: Scored, weights: Iterable[Floats]) -> Floats:
    """Return logloss, AUC and average precision by replicate, shape (n_replicates, 3)."""
    of_row = Units.find(log).of_row
    table = []
    for weight in weights:
        rows = weight[of_row]
        metrics = (log_loss, roc_auc_score, average_precision_score)
        table.append([metric(log.label, log.probability, sample_weight=rows) for metric in metrics])
    return np.array(table)


def timed_ratio(n_rows: int, rounds: int) -> None:
    """Print the medians and their ratio."""
    log = simulated_log(n_rows)
    n_replicates, n_users = Resampling().affordable(n_rows), Units.find(log).count
    n_looped = max(2, min(n_replicates, 400_000 // n_rows))
    ours, loops = [], []
    for seed in range(rounds):
        start = time.perf_counter()
        drawn = replicates(log, seed, n_replicates)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        table = plain_loop(log, draws(seed, n_users, n_looped))
        loops.append((time.perf_counter() - start) / n_looped * n_replicates)
        for column, name in enumerate(METRICS):
            assert np.allclose(drawn.values[name][:n_looped], table[:, column], rtol=1e-9, atol=0), name
    ratios = [loop / own for loop, own in zip(loops, ours, strict=True)]
    print(
        f"{n_rows:>9} rows, {n_users} users, {n_replicates} replicates: ours {statistics.median(ours):.2f} s for "
        f"{len(MetricChoice().names)} metrics, loop {statistics.median(loops):.1f} s for {len(METRICS)} (scaled up "
        f"from {n_looped} replicates), ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    )


def compare_intervals(n_rows: int, n_replicates: int = 500) -> None:
    """Print both intervals, made with different draws, and how far their ends are apart in standard errors."""
    log = simulated_log(n_rows)
    ours = replicates(log, 1, n_replicates)
    table = plain_loop(log, draws(2, Units.find(log).count, n_replicates))
    for column, name in enumerate(METRICS):
        low, high = np.quantile(ours.values[name], (0.025, 0.975))
        other_low, other_high = np.quantile(table[:, column], (0.025, 0.975))
        # Monte-Carlo error of a normal's quantile: sqrt(p (1 - p) / B) / density, for the difference of two of them.
        error = np.std(table[:, column]) * np.sqrt(2 * 0.025 * 0.975 / n_replicates) / 0.0584
        print(
            f"{name:>8}: ours [{low:.5f}, {high:.5f}], loop [{other_low:.5f}, {other_high:.5f}], ends apart by "
            f"{abs(low - other_low) / error:.1f} and {abs(high - other_high) / error:.1f} Monte-Carlo standard errors"
        )


def main() -> None:
    """Compare intervals at the smallest size and time every size."""
    parser = argparse.ArgumentParser(description="Time our bootstrap against a loop over scikit-learn's metrics.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[12_000, 1_000_000], help="numbers of rows")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    arguments = parser.parse_args()
    compare_intervals(min(arguments.sizes))
    for n_rows in arguments.sizes:
        timed_ratio(n_rows, arguments.rounds)


if __name__ == "__main__":
    main()
