"""The steps of a run, each a thin entry point over job contract v1."""
