import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.errors import InputError
from tracking.items import read_items, write_items
from tracking.records import Artifact, DatasetInput, Item, Metric, ModelArtifact, Param, Tag

KEYS = st.from_regex(r"[a-z]{1,8}(/[a-zé.]{0,5}[a-z ])?", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
SCOPES = st.sampled_from(("step", "run"))
PATHS = st.from_regex(r"[a-z]{1,5}(/[a-zü ]{0,4}[a-z])?", fullmatch=True)
ITEMS: st.SearchStrategy[Item] = st.one_of(
    st.builds(Param, KEYS, TEXTS, SCOPES),
    st.builds(Tag, KEYS, TEXTS, SCOPES),
    st.builds(
        Metric,
        KEYS,
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(0, 2**40),
        st.none() | TEXTS,
        st.booleans(),
        SCOPES,
    ),
    st.builds(
        DatasetInput,
        st.from_regex(r"[^\n\ud800-\udfff]{1,10}", fullmatch=True),
        st.from_regex("[0-9a-f]{1,32}", fullmatch=True),
        TEXTS,
        st.integers(0, 2**40),
        st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple),
        st.sampled_from(("training", "validation", "test", "raw")),
        SCOPES,
    ),
    st.builds(Artifact, PATHS, st.just("") | PATHS, SCOPES),
    st.builds(ModelArtifact, PATHS, st.from_regex(r"[a-z-]{1,9}", fullmatch=True), SCOPES),
)


@given(st.lists(ITEMS, max_size=6))
def test_items_read_back_are_the_ones_written(items: list[Item]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "items.jsonl"
        write_items(path, items)
        assert read_items(path) == tuple(items)
        assert [file.name for file in Path(folder).iterdir()] == ["items.jsonl"]


def test_the_written_form_is_format_1(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    write_items(path, [Metric("test.auc", 0.75, dataset="clicks", of_model=True, scope="run"), Param("Ω", "a\nb")])
    assert path.read_text(encoding="utf-8") == (
        '{"format":1,"kind":"metric","key":"test.auc","value":0.75,"step":0,"dataset":"clicks","of_model":true,'
        '"scope":"run"}\n{"format":1,"kind":"param","key":"Ω","value":"a\\nb","scope":"step"}\n'
    )


def test_writing_again_replaces(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    write_items(path, [Param("a", "1"), Param("b", "2")])
    write_items(path, [Param("c", "3")])
    assert read_items(path) == (Param("c", "3"),)


def test_a_field_that_a_later_version_added_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"format":1,"kind":"tag","key":"a","value":"b","scope":"run","unit":"ms"}\n', encoding="utf-8")
    assert read_items(path) == (Tag("a", "b", "run"),)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.jsonl: no such file; run the step again"):
        read_items(tmp_path / "absent.jsonl")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"format":2,"kind":"tag"}', "format 2 is not known \\(up to 1 is\\); use a newer ctr-pipeline"),
        ('{"format":1,"kind":"spell"}', "kind 'spell' is not known, must be one of param, tag, metric, "),
        ('{"format":1,"kind":["tag"]}', "kind \\['tag'\\] is not known"),
        ('{"format":1,"ki', "not an item"),
        ("[1]", "not an item"),
        ('{"format":1}', "not an item"),
        ('{"format":1,"kind":"metric","key":"a","value":"high"}', "metric value: Input should be a valid number"),
        ('{"format":1,"kind":"metric","value":1.0}', "metric key: Field required; run the step again"),
        ('{"format":1,"kind":"param","key":"a","value":"b","scope":"all"}', "param scope: Input should be 'step' or"),
        ('{"format":1,"kind":"artifact","path":"../a"}', "must be a relative path"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "items.jsonl"
    good = json.dumps({"format": 1, "kind": "tag", "key": "a", "value": "b"})
    path.write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_items(path)
