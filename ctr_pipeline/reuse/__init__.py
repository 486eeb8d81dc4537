"""Which step outputs may be used again, and why: what a step's code is, what its key is made of, how output is kept."""
