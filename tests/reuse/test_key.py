"""A step's key: different whenever anything differs that its output follows from, and only then."""

from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.manifest import DatasetManifest, PinnedFile
from ctr_pipeline.pipeline import EVALUATE, PIPELINE, PREPROCESS, TRAIN, StepSpec
from ctr_pipeline.reuse.imports import Sources
from ctr_pipeline.reuse.key import Change, StepKey, Surroundings, changes, data_input, step_input, step_key
from ctr_pipeline.reuse.words import in_words
from ctr_pipeline.steps.job import StepRecord
from tests.small_log import small_settings

SOURCES: Final = Sources(
    {
        "ctr_pipeline/__init__.py": b"",
        "ctr_pipeline/steps/__init__.py": b"",
        **{f"ctr_pipeline/steps/{spec.name}.py": b"import ctr_pipeline.helper, numpy" for spec in PIPELINE},
        "ctr_pipeline/helper.py": b"1",
        "ctr_pipeline/extra.py": b"1",
        "ctr_pipeline/cli.py": b"1",
        "tracking/__init__.py": b"",
    }
)
AROUND: Final = Surroundings(
    SOURCES,
    {"project:bids.py": "b1"},
    ("ctr_pipeline.extra",),
    {"numpy": "2.3", "other": "1"},
    "lock",
    "3.12.1",
    ("H",),
)
LOCK_CHANGED: Final = "libraries: the lock file, or what is installed against it, changed"
OWN: Final = {"features": {"custom": "bids:floor"}}
OUR_OWN: Final = {"features": {"custom": "ctr_pipeline.extra:floor"}}
CUDA: Final = {"train": {"device": "cuda"}}


def _key(spec: StepSpec = TRAIN, around: Surroundings = AROUND, sections: dict[str, Any] | None = None) -> StepKey:
    return step_key(spec, small_settings(**(sections or {})), {"splits.encoder": "e1"}, around)


def _edited(path: str) -> Surroundings:
    return replace(AROUND, sources=Sources({**SOURCES.files, path: b"2"}))


@pytest.mark.parametrize(
    ("spec", "around", "sections", "expected"),
    [
        (TRAIN, _edited("ctr_pipeline/helper.py"), {}, "code ctr_pipeline/helper.py changed"),
        (TRAIN, replace(AROUND, lock_digest="l2"), {}, LOCK_CHANGED),
        (TRAIN, replace(AROUND, python_version="3.13.0"), {}, "library python: 3.12.1 -> 3.13.0"),
        (TRAIN, replace(AROUND, packages={"numpy": "2.4", "other": "1"}), {}, "library numpy: 2.3 -> 2.4"),
        (TRAIN, AROUND, {"train": {"rounds": 9}}, "setting train.rounds: 8 -> 9"),
        (TRAIN, AROUND, {"seed": 8}, "setting seed: 7 -> 8"),
        (EVALUATE, AROUND, {"evaluate": {"replicates": 101}}, "setting evaluate.replicates: 100 -> 101"),
        (PREPROCESS, AROUND, {"data": {"uri": "b.csv"}}, 'setting data.uri: "sample:open_bandit" -> "b.csv"'),
    ],
)  # fmt: skip
def test_what_an_output_follows_from_changes_the_key_and_is_named(
    spec: StepSpec, around: Surroundings, sections: dict[str, Any], expected: str
) -> None:
    before, after = _key(spec), _key(spec, around, sections)
    assert before.digest != after.digest
    assert list(in_words(changes(before, after))) == [expected]


@pytest.mark.parametrize(
    ("spec", "around", "sections"),
    [
        (TRAIN, _edited("ctr_pipeline/cli.py"), {}),
        (TRAIN, replace(AROUND, packages={"numpy": "2.3", "other": "2"}), {}),
        (TRAIN, replace(AROUND, own_code={"project:bids.py": "b2"}), {}),
        (TRAIN, replace(AROUND, gpus=()), {}),
        (TRAIN, AROUND, {"evaluate": {"replicates": 101}, "runtime": {"threads": 2}}),
        (PREPROCESS, AROUND, {"seed": 8, "train": {"rounds": 9}, "evaluate": {"metrics": {"m": "bids:m"}}, **CUDA}),
        (EVALUATE, AROUND, {"tracking": {"model_name": "other"}, "data": {"uri": "b.csv"}}),
    ],
)
def test_what_it_does_not_follow_from_leaves_the_key(
    spec: StepSpec, around: Surroundings, sections: dict[str, Any]
) -> None:
    assert _key(spec).digest == _key(spec, around, sections).digest


def test_with_a_teams_function_its_files_all_packages_and_our_modules_that_it_imports_count() -> None:
    before = _key(sections=OWN)
    for around, expected in (
        (replace(AROUND, own_code={"project:bids.py": "b2"}), "own code bids.py changed"),
        (replace(AROUND, own_code={}), "own code bids.py removed"),
        (replace(AROUND, packages={"numpy": "2.3"}), "library other: 1 -> none"),
        (_edited("ctr_pipeline/extra.py"), "code ctr_pipeline/extra.py changed"),
    ):
        assert list(in_words(changes(before, _key(around=around, sections=OWN)))) == [expected]


def test_a_function_of_our_own_package_counts_as_code_with_what_it_imports() -> None:
    assert "ctr_pipeline/extra.py" not in _key().parts["code"]
    assert "ctr_pipeline/extra.py" in _key(sections=OUR_OWN).parts["code"]
    assert not _key(sections=OUR_OWN).parts["own code"]


def test_a_metric_of_a_team_counts_where_it_is_computed_alone() -> None:
    sections = {"evaluate": {"metrics": {"m": "bids:m"}}}
    assert _key(EVALUATE, sections=sections).parts["own code"]
    assert not _key(PREPROCESS, sections=sections).parts["own code"]
    assert not _key(TRAIN, sections=sections).parts["own code"]


def test_the_device_counts_for_the_step_that_computes_on_it_with_its_gpus() -> None:
    assert _key(sections=CUDA).parts["machine"] == {"device": "cuda", "gpus": "H"}
    assert _key(EVALUATE, sections=CUDA).parts["machine"] == {"device": "cpu"}


def test_a_text_and_a_number_of_the_same_spelling_are_told_apart() -> None:
    keys = [
        _key(sections={"data": {"columns": {"context": {"position": {"kind": "native", "pinned": pinned}}}}})
        for pinned in (1, "1", None)
    ]
    assert len({key.digest for key in keys}) == 3


def test_data_count_by_rows_files_reading_and_name_and_not_by_place() -> None:
    file = PinnedFile("log.csv", 10, "a" * 64, 2, "b" * 32)
    manifest = DatasetManifest("ads", "c" * 64, 2, (), (file,), DataFormat())
    known = data_input(manifest)
    for other in (
        replace(manifest, name="other"),
        replace(manifest, digest="d" * 64),
        replace(manifest, data_format=DataFormat(delimiter=";")),
        replace(manifest, files=(replace(file, path="b.csv"),)),
        replace(manifest, files=(replace(file, sha256="e" * 64),)),
        replace(manifest, files=(file, replace(file, path="c.csv"))),
    ):
        assert data_input(other) != known
    assert data_input(replace(manifest, files=(replace(file, s3_version_id="v2"),))) == known


def test_changed_data_are_named_by_their_version() -> None:
    old, new = StepKey("preprocess", {"input": {"data.version": "a" * 32, "data.files": "1"}}), None
    new = StepKey("preprocess", {"input": {"data.version": "b" * 32, "data.files": "2"}})
    assert list(in_words(changes(old, new))) == ["data version aaaaaaaaaaaa -> bbbbbbbbbbbb"]
    assert list(in_words([Change("input", "data.files", "1", "2")])) == ["data: the same rows in other files"]
    assert list(in_words([Change("input", "splits.encoder", "1", "2")])) == ["input splits.encoder changed"]
    assert list(in_words([Change("input", "data.version", None, "b")])) == ["data version none -> b"]
    long = Change("setting", "x", None, "y" * 100)
    assert list(in_words([long])) == [f"setting x: none -> {'y' * 60}..."]


def test_the_facts_of_an_earlier_step_count_as_later_ones_read_them() -> None:
    record = StepRecord("preprocess", {"encoder": "e"}, {"n": 1}, 1.0)
    assert step_input("splits", record) == step_input("splits", replace(record, wall_s=2.0))
    assert step_input("splits", record) != step_input("splits", replace(record, facts={"n": 2}))
    assert step_input("splits", record) != step_input("splits", replace(record, outputs={"encoder": "f"}))


_PARTS: Final = st.dictionaries(
    st.sampled_from(["input", "settings", "code"]),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
    max_size=3,
)


@given(_PARTS, _PARTS)
def test_keys_are_equal_where_all_parts_are_and_nowhere_else(
    one: dict[str, dict[str, str]], other: dict[str, dict[str, str]]
) -> None:
    left, right = StepKey("train", one), StepKey("train", other)
    assert (left.digest == right.digest) == (one == other)
    filled = {part: texts for part, texts in one.items() if texts} == {p: t for p, t in other.items() if t}
    assert (not changes(left, right)) == filled
    assert StepKey("evaluate", one).digest != left.digest
