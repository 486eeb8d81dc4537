"""Write `docs/configuration.md` from the settings' models: key, type, default, rule and meaning of every key.

python scripts/document_settings.py            # write the page
python scripts/document_settings.py --check    # exit 1 when the page is stale
"""

import argparse
import json
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAliasType, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ctr_pipeline.config import Settings

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
_INTRODUCTION: Final = """\
<!-- Written by `make docs` from ctr_pipeline/config.py; `make check` fails when it is stale. Do not edit by hand. -->

# Configuration

Every key of a config file. A file names only the keys that differ from their defaults; an unknown key is refused, and
the error names the nearest known one.

- `ctr-pipeline run --config FILE` reads a YAML file; without it the bundled sample is run.
- `--set key=value` is laid over the file, with dotted keys and a YAML value: `--set train.max_depth=8`.
- `include: other.yaml` (or a list of files) is read first, relative to the including file.
- `${env:NAME}` and `${env:NAME:-default}` inside a text become the environment variable's value. Where a text
  is nothing but one of them, the value is read as YAML reads it: a number, true, false, null (also where it is empty)
  or text. Digits that are meant as text want quotes inside the variable: `BUILD='"123"'`.

What a run was told is recorded with it, defaults included. `name`, `tracking.*`, `runtime.*`, `reproduce.*`,
`data.uri` and `data.store` say where and how a run happens and what is measured beside it; all other keys decide its
result and are part of its recipe digest.

Durations are a whole number and a unit (`us`, `ms`, `s`, `m`, `h`, `d`): `90s`, `12h`, `1d`. Instants are ISO 8601
dates or times, in UTC unless they name a zone. Functions are named as `module:function`.
"""
_WORDS: Final[Mapping[object, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "null",
    Any: "anything",
}
_ALIASES: Final[Mapping[str, str]] = {
    "Duration": "duration",
    "PositiveDuration": "duration > 0",
    "Instant": "instant",
    "FunctionName": "function",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the page.

    Attributes:
        name: the dotted key; `NAME` stands for a name that the user chooses.
        type: the type in words.
        default: the default as YAML, or `required`.
        rule: what a value must obey, such as `>= 1`; empty without a rule.
        description: what the key means.
    """

    name: str
    type: str
    default: str
    rule: str
    description: str


@dataclass(frozen=True, slots=True)
class SectionKeys:
    """The keys of one model; `name` is empty for the outermost one."""

    name: str
    description: str
    keys: tuple[Key, ...]


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[SectionKeys]:
    """Yield a model's own keys, then those of every model inside it, in the order of the fields."""
    own = (model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    fields = {f"{prefix}{name}": info for name, info in model.model_fields.items()}
    keys = tuple(_key(name, info) for name, info in fields.items() if not _is_model(info.annotation))
    yield SectionKeys(prefix.removesuffix("."), own, keys)
    for name, info in fields.items():
        inner = _model_in(info.annotation)
        if inner is not None:
            yield from sections(inner, f"{name}{_step_into(info.annotation)}.")


def page(model: type[BaseModel]) -> str:
    """Return the whole page as Markdown."""
    return "\n".join((_INTRODUCTION, *(_section_text(section) for section in sections(model))))


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with `--check` say whether it is stale; return the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/configuration.md from the settings' models.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is stale")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page (default: docs/configuration.md)")
    options = parser.parse_args(arguments)
    output: Path = options.output
    text = page(Settings)
    if not options.check:
        output.write_text(text, encoding="utf-8")
        return 0
    if output.is_file() and output.read_text(encoding="utf-8") == text:
        return 0
    print(f"{output.name} does not fit ctr_pipeline/config.py; run `make docs`", file=sys.stderr)
    return 1


def _section_text(section: SectionKeys) -> str:
    title = f"`{section.name}`" if section.name else "Top level"
    lines = [f"## {title}", "", section.description]
    if section.keys:
        lines += ["", "| key | type | default | rule | meaning |", "|---|---|---|---|---|"]
        lines += [_row(key) for key in section.keys]
    return "\n".join((*lines, ""))


def _row(key: Key) -> str:
    cells = (f"`{key.name}`", key.type, f"`{key.default}`", key.rule, key.description)
    return f"| {' | '.join(cell.replace('|', '\\|') for cell in cells)} |"


def _key(name: str, info: FieldInfo) -> Key:
    if not info.description:
        raise ValueError(f"{name} has no description, must have one; write Field(..., description=...)")
    rules = (*_rules_within(info.annotation), *_rules(info.metadata))
    return Key(name, _words(info.annotation), _default_text(info), ", ".join(rules), info.description)


def _words(annotation: object) -> str:
    if isinstance(annotation, TypeAliasType) and annotation.__name__ in _ALIASES:
        return _ALIASES[annotation.__name__]
    annotation = _unwrapped(annotation)
    arguments = get_args(annotation)
    if arguments:
        return _generic_words(get_origin(annotation), arguments)
    if _is_model(annotation):
        return "keys below"
    if annotation not in _WORDS:
        raise ValueError(f"no words for the type {annotation!r}; add them to scripts/document_settings.py")
    return _WORDS[annotation]


def _generic_words(origin: object, arguments: tuple[object, ...]) -> str:
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    words = [_words(argument) for argument in arguments if argument is not Ellipsis]
    if origin in (Union, types.UnionType):
        return " or ".join(words)
    if _is_mapping(origin):
        return f"{words[0]} → {words[1]}"
    if len(words) == len(arguments):
        return f"[{', '.join(words)}]"
    return f"list of ({words[0]})" if " of " in words[0] else f"list of {words[0]}"


def _rules_within(annotation: object) -> tuple[str, ...]:
    """Return the rules that stand inside an annotation; those of a list's or a mapping's values begin with `each`."""
    if isinstance(annotation, TypeAliasType):
        return _rules_within(annotation.__value__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return (*_rules_within(arguments[0]), *_rules(arguments[1:]))
    if origin is Literal:
        return ()
    within = tuple(rule for argument in arguments for rule in _rules_within(argument))
    return tuple(f"each {rule}" for rule in within) if origin is tuple or _is_mapping(origin) else within


def _rules(metadata: Sequence[object]) -> tuple[str, ...]:
    return tuple(rule for item in metadata for rule in _rules_of(item))


def _rules_of(item: object) -> Iterator[str]:
    match item:
        case annotated_types.Ge(ge=bound):
            yield f">= {bound}"
        case annotated_types.Gt(gt=bound):
            yield f"> {bound}"
        case annotated_types.Le(le=bound):
            yield f"<= {bound}"
        case annotated_types.Lt(lt=bound):
            yield f"< {bound}"
        case annotated_types.MultipleOf(multiple_of=factor):
            yield f"a multiple of {factor}"
        case annotated_types.MinLen(min_length=length):
            yield f"length >= {length}"
        case annotated_types.MaxLen(max_length=length):
            yield f"length <= {length}"
        case FieldInfo(metadata=inner):
            yield from _rules(inner)
        case _:
            # Validators' rules stand in the introduction, under the names of their types.
            pattern = getattr(item, "pattern", None)
            if pattern is not None:
                yield f"matches `{pattern}`"


def _default_text(info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, str):
        return default or '""'
    return json.dumps(default, ensure_ascii=False)


def _unwrapped(annotation: object) -> object:
    while isinstance(annotation, TypeAliasType) or get_origin(annotation) is Annotated:
        annotation = annotation.__value__ if isinstance(annotation, TypeAliasType) else get_args(annotation)[0]
    return annotation


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the settings model that a key holds: itself, in a list, as a mapping's value, or beside null."""
    annotation = _unwrapped(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _step_into(annotation: object) -> str:
    origin = get_origin(_unwrapped(annotation))
    if _is_mapping(origin):
        return ".NAME"
    return "[]" if origin is tuple else ""


def _is_model(annotation: object) -> bool:
    return _unwrapped(annotation) is _model_in(annotation) is not None


def _is_mapping(origin: object) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
