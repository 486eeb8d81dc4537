"""The steps of a run, each a thin entry point over job contract v1."""

import os

# OpenMP reads this when XGBoost is loaded. Threads that wait by spinning become many times slower once anything else
# wants a core, and win nothing on an idle machine: benchmarks/bench_waiting_threads.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
