"""One spelling for every value that gets a digest: the same value gives the same bytes everywhere.

Keys are sorted by code point, there is no white space, text is UTF-8, integers are written in full, floats by
their shortest round-trip spelling (`0.1`, `1e-09`, `-0.0`); `1` and `1.0` differ. NaN and infinities have no
spelling in JSON and are refused.

    >>> canonical_json({"b": (1, 2.0), "a": None})
    b'{"a":null,"b":[1,2.0]}'
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tracking.errors import InputError


def canonical_json(value: object, *, name: str = "value") -> bytes:
    """The canonical spelling of a JSON-able value (mappings, lists, tuples, text, numbers, booleans, None).

    Args:
        value: The value.
        name: What the value is called in an error's message.

    Raises:
        InputError: naming the place, for NaN, infinities, keys that are no text, text that is no Unicode, and
            values of any other type.
    """
    plain = _plain(value, name)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(content: bytes) -> str:
    """The sha256 of some bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """The sha256 of a file's content, as 64 hexadecimal digits; the file is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def frozen(value: object) -> object:
    """The same JSON-able value, unchangeable: mappings become read-only, lists tuples."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    return value


def _plain(value: object, place: str) -> object:
    if isinstance(value, str):
        return _text(value, place)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{place} == {value}, must be a finite number: use null for a missing one.")
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key, place): _plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    raise InputError(
        f"{place} is of type {type(value).__name__}, must be text, a number, a boolean, null, a list or a mapping: "
        "convert it first."
    )


def _key(key: object, place: str) -> str:
    if not isinstance(key, str):
        raise InputError(f"{place} has the key {key!r}, must be text: quote it.")
    return _text(key, f"a key of {place}")


def _text(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} == {text!a}, must be Unicode text: rename or re-encode it as UTF-8.") from None
    return text
