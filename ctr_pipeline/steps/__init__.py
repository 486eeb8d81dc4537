"""The steps of a run, each a thin entry point over job contract v1."""

import os

# OpenMP reads this when XGBoost is loaded. Threads that wait by spinning take eight times as long as soon as anything
# else wants a core (measured: 41 rounds in 6.3 s instead of .8 s on two busy cores), and win nothing on an idle machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
