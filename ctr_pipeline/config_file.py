"""YAML files to `Settings`: includes, environment variables and `--set` over them, each recorded.

* ``include: other.yaml`` (or a list) is read first, relative to the including file; `sample:NAME` is a bundled one.
* ``${env:NAME}`` and ``${env:NAME:-default}`` inside a text become the environment variable's value. Where a text is
  nothing but one of them, the value is read as YAML reads it: a number, true, false, null (also where it is empty) or
  text; digits that are meant as text want quotes inside the variable.
* ``--set train.max_depth=8`` is laid over the file; the value is YAML.
"""

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ctr_pipeline.config import Settings
from tracking.errors import InputError

_ENVIRONMENT: Final = re.compile(r"\$\{env:(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\}")
_NULLS: Final = ("", "~", "null", "Null", "NULL")
SAMPLE_PREFIX: Final = "sample:"
_NO_KEYS: Final = ("float", "int", "str", "[key]")
# pydantic's words are Python's; a config's author thinks in YAML.
_RULES: Final = {
    "string_type": "must be text; put it in quotes",
    "tuple_type": "must be a list such as [a, b]",
    "model_type": "must be keys and values",
    "dict_type": "must be keys and values",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
}


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings and where they came from.

    Attributes:
        settings: the resolved values.
        files: every file read, the outermost last.
        overrides: the `--set` texts, as given.
        environment: the environment variables that were read, with their values.
    """

    settings: Settings
    files: tuple[str, ...]
    overrides: tuple[str, ...]
    environment: Mapping[str, str]


def load_settings(
    path: str | Path | None, overrides: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> LoadedSettings:
    """Read a config file and lay `overrides` over it.

    Args:
        path: a YAML file, `sample:NAME`, or None for the bundled default.
        overrides: `key=value` texts with dotted keys.
        environment: what `${env:NAME}` is looked up in.

    Raises:
        InputError: a file is missing or no YAML, a key is unknown, a value breaks its rule, a variable is not set.
    """
    source = _Source(environment)
    values = source.read(str(path) if path is not None else f"{SAMPLE_PREFIX}open_bandit", seen=())
    for override in overrides:
        key, value = parse_override(override)
        _lay_over(values, _nest(key, source.resolve(value, origin="--set")), source.origins, origin="--set")
    return LoadedSettings(
        settings=_validated(values, source.origins, source.files[-1]),
        files=tuple(source.files),
        overrides=tuple(overrides),
        environment=dict(sorted(source.used.items())),
    )


@dataclass(slots=True)
class _Source:
    """What reading a config gathers besides the values."""

    environment: Mapping[str, str]
    files: list[str] = field(default_factory=list)
    used: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def read(self, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
        if name in seen:
            raise InputError(f"{name}: includes itself through {' -> '.join((*seen, name))}; remove one include")
        values = _parse(name, _text_of(name))
        merged: dict[str, Any] = {}
        for include in _includes(name, self.resolve(values.pop("include", []), origin=name)):
            _lay_over(merged, self.read(_beside(name, include), (*seen, name)), {}, origin=name)
        self.files.append(name)
        _lay_over(merged, self.resolve(values, origin=name), self.origins, origin=name)
        return merged

    def resolve[T](self, value: T, origin: str) -> T:
        """Replace `${env:...}` in every text, and dates by their ISO text."""
        resolved: Any = value
        if isinstance(value, str):
            text = _ENVIRONMENT.sub(lambda match: self._variable(match, origin), value)
            resolved = _scalar(text) if _ENVIRONMENT.fullmatch(value) else text
        elif isinstance(value, dict):
            resolved = {str(key): self.resolve(item, origin) for key, item in value.items()}
        elif isinstance(value, list):
            resolved = [self.resolve(item, origin) for item in value]
        elif isinstance(value, date | datetime):
            resolved = value.isoformat()
        return resolved  # type: ignore[no-any-return] # the same shape as `value`, with texts replaced

    def _variable(self, match: re.Match[str], origin: str) -> str:
        name, default = match["name"], match["default"]
        value = self.environment.get(name, default)
        if value is None:
            raise InputError(
                f"{origin}: environment variable {name} is not set, must be; "
                f"export it or write ${{env:{name}:-default}}"
            )
        self.used[name] = value
        return value


def _scalar(text: str) -> str | float | bool | None:
    if text in _NULLS:
        return None
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return text
    # What looks like a list, a mapping, a date or a comment is text: a password may.
    quoted = isinstance(value, str) and text[0] in "'\""
    return value if quoted or (isinstance(value, int | float) and "#" not in text) else text


def _text_of(name: str) -> str:
    if name.startswith(SAMPLE_PREFIX):
        resource = resources.files("ctr_pipeline.data") / "samples" / f"{name.removeprefix(SAMPLE_PREFIX)}.yaml"
        if not resource.is_file():
            raise InputError(f"{name} is no bundled config; use sample:open_bandit or sample:simulated_users")
        return resource.read_text(encoding="utf-8")
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"config file {name} does not exist; give the path of a YAML file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"config file {name} cannot be read ({error}); give the path of a UTF-8 YAML file") from error


def _includes(name: str, value: object) -> list[str]:
    includes = [value] if isinstance(value, str) else value
    if not isinstance(includes, list) or not all(isinstance(include, str) for include in includes):
        raise InputError(f"{name}: include == {json.dumps(value, default=str)}, must be a file or a list of files")
    return includes


def _beside(including: str, include: str) -> str:
    if include.startswith(SAMPLE_PREFIX) or including.startswith(SAMPLE_PREFIX):
        return include
    return str(Path(including).parent / include)


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise InputError(f"{name}{place} is no valid YAML: {_yaml_problem(error)}; mend that line") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{name} holds a {type(values).__name__}, must be keys and values such as `seed: 7`")
    return values


def parse_override(text: str) -> tuple[str, Any]:
    """Return key and value of a `key=value` text, the value as YAML reads it.

    Raises:
        InputError: it is none.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set {text} must be key=value, such as --set train.max_depth=8")
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        raise InputError(f"--set {text}: the value is no valid YAML: {_yaml_problem(error)}; quote it") from error


def _yaml_problem(error: YAMLError) -> str:
    problem = error.problem if isinstance(error, MarkedYAMLError) else None
    return str(problem or error).splitlines()[0]


def _nest(key: str, value: object) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value  # type: ignore[return-value] # split() yields at least one part


def _lay_over(
    base: dict[str, Any], values: Mapping[str, Any], origins: dict[str, str], origin: str, prefix: str = ""
) -> None:
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _lay_over(base[key], value, origins, origin, f"{dotted}.")
        else:
            base[key] = value
            origins[dotted] = origin


def _validated(values: Mapping[str, Any], origins: Mapping[str, str], last_file: str) -> Settings:
    try:
        return Settings.from_json(json.dumps(values, allow_nan=False))
    except ValidationError as error:
        raise InputError(explained(error.errors(include_url=False)[0], origins, last_file)) from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{last_file}: {error}; write text and finite numbers, and null for no bound") from error


def explained(problem: ErrorDetails, origins: Mapping[str, str], last_file: str) -> str:
    """Return a broken rule in one line.

    Args:
        problem: as pydantic tells it.
        origins: where values come from, by dotted key.
        last_file: where all others come from.
    """
    parts = [str(part) for part in problem["loc"]]
    # pydantic adds what it tried: the member of a union, the key of a mapping.
    parts = parts[:-1] if parts and parts[-1] in _NO_KEYS else parts
    key = ".".join(parts)
    origin = next((origins[found] for found in _prefixes(parts) if found in origins), last_file)
    if problem["type"] == "extra_forbidden":
        return f"{origin}: {key} is no known key; {_nearest(parts)}"
    message = _RULES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        return f"{origin}: {key + ': ' if key else ''}{message}"
    if not message.startswith("must"):
        message = message[0].lower() + message[1:]
        message = message.removeprefix("input should ")
        message = f"must {message}" if message.startswith("be ") else message
    return f"{origin}: {key} == {json.dumps(problem['input'], default=str)}, {message}"


def _prefixes(parts: Sequence[str]) -> Iterator[str]:
    return (".".join(parts[:length]) for length in range(len(parts), 0, -1))


def _nearest(parts: Sequence[str]) -> str:
    known = sorted(known_keys(Settings))
    close = difflib.get_close_matches(".".join(parts), known, n=1, cutoff=0.6)
    if not close:
        leaves = {key.rsplit(".", 1)[-1]: key for key in known}
        close = [leaves[leaf] for leaf in difflib.get_close_matches(parts[-1], sorted(leaves), n=1, cutoff=0.7)]
    if close:
        return f"the nearest is {close[0]}"
    return "docs/configuration.md lists the keys"


def known_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a settings model, sections included."""
    for name, info in model.model_fields.items():
        yield f"{prefix}{name}"
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from known_keys(info.annotation, f"{prefix}{name}.")
