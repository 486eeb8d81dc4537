"""`docs/configuration.md` says what the models say, about every key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from ctr_pipeline.config import Settings, flatten
from ctr_pipeline.config_file import known_keys
from scripts.document_settings import PAGE, Key, main, page, sections

type _Share = Annotated[float, Field(ge=0, le=1)]


class _Inner(BaseModel):
    """What is inside."""

    depth: int | None = Field(None, ge=1, description="how deep")


class _Outer(BaseModel):
    """What is outside.

    More about it.
    """

    name: str = Field(description="who | what", pattern="[a-z]+", max_length=9)
    mode: Literal["fast", 1] = Field("fast", description="how")
    shares: tuple[_Share, ...] = Field((0.5,), description="which")
    bounds: Mapping[str, tuple[float | None, float]] = Field({}, description="where")
    steps: int = Field(4, multiple_of=2, gt=0, lt=9, description="how many")
    label: str = Field("", min_length=0, description="text")
    inner: _Inner = Field(_Inner(), description="the inner one")
    many: tuple[_Inner, ...] = Field((), description="several")


def test_the_page_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_page_is_refused_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / "configuration.md"
    assert main(["--check", "--output", str(stale)]) == 1
    assert capsys.readouterr().err == "configuration.md does not fit ctr_pipeline/config.py; run `make docs`\n"
    assert main(["--output", str(stale)]) == 0
    assert main(["--check", "--output", str(stale)]) == 0
    assert stale.read_text(encoding="utf-8") == page(Settings)


def test_every_key_has_its_row_or_its_section() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [key for key in known_keys(Settings) if f"| `{key}` |" not in text and f"## `{key}`" not in text] == []


def test_the_page_tells_identity_from_circumstance_as_the_settings_do() -> None:
    settings = Settings.from_json('{"data": {"columns": {"time": "shown_at"}}}')
    circumstantial = flatten(settings.resolved()).keys() - flatten(settings.identity()).keys()
    whole = ("tracking.", "runtime.", "reproduce.")
    named = {key.rpartition(".")[0] + ".*" if key.startswith(whole) else key for key in circumstantial}
    assert named == {"name", "tracking.*", "runtime.*", "reproduce.*", "data.uri", "data.store"}
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert "`name`, `tracking.*`, `runtime.*`, `reproduce.*`, `data.uri` and `data.store` say where" in text


def test_a_model_is_walked_into_lists_and_sections() -> None:
    walked = list(sections(_Outer))
    assert [(section.name, section.description) for section in walked] == [
        ("", "What is outside."),
        ("inner", "What is inside."),
        ("many[]", "What is inside."),
    ]
    assert walked[1].keys == (Key("inner.depth", "whole number or null", "null", ">= 1", "how deep"),)


def test_types_defaults_and_rules_are_told_in_words() -> None:
    assert next(sections(_Outer)).keys == (
        Key("name", "text", "required", "length <= 9, matches `[a-z]+`", "who | what"),
        Key("mode", "one of `fast`, `1`", "fast", "", "how"),
        Key("shares", "list of number", "[0.5]", "each >= 0, each <= 1", "which"),
        Key("bounds", "text → [number or null, number]", "{}", "", "where"),
        Key("steps", "whole number", "4", "> 0, < 9, a multiple of 2", "how many"),
        Key("label", "text", '""', "length >= 0", "text"),
        Key("many", "list of keys below", "[]", "", "several"),
    )
    assert "| `name` | text | `required` | length <= 9, matches `[a-z]+` | who \\| what |" in page(_Outer)


def test_a_key_without_a_description_is_refused() -> None:
    class Silent(BaseModel):
        """A model."""

        key: int = 1

    with pytest.raises(ValueError, match=r"key has no description, must have one"):
        page(Silent)


def test_a_type_without_words_is_refused() -> None:
    class Odd(BaseModel):
        """A model."""

        key: bytes = Field(b"", description="odd")

    with pytest.raises(ValueError, match=r"no words for the type <class 'bytes'>"):
        page(Odd)
