"""Small logs to evaluate: drawn with a planted model, or arbitrary ones for property tests."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from ctr_pipeline.evaluation.scored import Bits, Floats, Scored


def planted_log(
    n_users: int = 300, rows_per_user: int = 8, *, spread: float = 1.0, user_spread: float = 0.0, seed: int = 0
) -> Scored:
    """Return a log whose predictions are right but for a user effect that no model knows."""
    source = np.random.default_rng(seed)
    n_rows = n_users * rows_per_user
    user = np.repeat(np.arange(n_users), rows_per_user)
    margin = (source.normal(-2.0, spread, n_rows)).astype(np.float32)
    odds = margin.astype(np.float64) + source.normal(0.0, user_spread, n_users)[user]
    label = (source.random(n_rows) < 1 / (1 + np.exp(-odds))).astype(np.uint8)
    probability = 1 / (1 + np.exp(-margin.astype(np.float64)))
    return Scored(label, probability, margin, cluster=user, group=np.arange(n_rows) // 4)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Labels, predictions with ties and positive weights."""

    label: Bits
    probability: Floats
    weight: Floats


@st.composite
def weighted_rows(draw: st.DrawFn) -> Rows:
    """Draw some rows with both labels among them."""
    row = st.tuples(st.integers(0, 1), st.integers(1, 19), st.integers(1, 4))
    rows = draw(st.lists(row, min_size=2, max_size=30).filter(lambda rows: len({label for label, *_ in rows}) == 2))
    label, score, weight = np.array(rows).T
    return Rows(label.astype(np.uint8), score / 20, weight.astype(np.float64))
