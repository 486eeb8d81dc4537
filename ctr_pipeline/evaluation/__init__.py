"""How good predicted click probabilities are: metrics with intervals, by day, hour and slice.

`evaluation.evaluate` measures a `scored.Scored`; `bootstrap.replicates` is for paired comparisons of two models.
"""
