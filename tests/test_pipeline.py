"""The pipeline as data."""

import importlib

from ctr_pipeline.pipeline import DATA_INPUT, PIPELINE


def test_every_step_comes_behind_those_that_it_reads() -> None:
    known = [DATA_INPUT]
    for step in PIPELINE:
        assert set(step.inputs.values()) <= set(known)
        known.append(step.name)


def test_every_step_is_a_module_of_its_name() -> None:
    assert [importlib.import_module(step.module).NAME for step in PIPELINE] == [step.name for step in PIPELINE]
