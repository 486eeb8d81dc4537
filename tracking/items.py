"""Items on disk: one JSON object a line, `{"format": 1, "kind": "metric", ...}`.

A step writes its items before anybody talks to a tracker, so that a tracker that is away costs nothing.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import TypeAdapter, ValidationError

from tracking.errors import InputError
from tracking.records import Artifact, DatasetInput, Item, Metric, ModelArtifact, Param, Tag

FORMAT: Final = 1
_KINDS: Final[Mapping[str, type[Item]]] = MappingProxyType(
    {
        "param": Param,
        "tag": Tag,
        "metric": Metric,
        "dataset": DatasetInput,
        "artifact": Artifact,
        "model": ModelArtifact,
    }
)
_NAMES: Final = MappingProxyType({made: kind for kind, made in _KINDS.items()})
_READERS: Final[Mapping[str, TypeAdapter[Item]]] = MappingProxyType(
    {kind: TypeAdapter(made) for kind, made in _KINDS.items()}
)


def write_items(path: Path, items: Iterable[Item]) -> None:
    """Write items, whole or not at all.

    Args:
        path: file to write; replaced if it exists.
        items: in the order to keep.
    """
    aside = path.with_name(f".{path.name}.tmp")
    with aside.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_line(item) for item in items)
    os.replace(aside, path)  # noqa: PTH105 - says plainly that an old file is replaced


def read_items(path: Path) -> tuple[Item, ...]:
    """Read items in their order.

    Args:
        path: file that `write_items` wrote, in this or an earlier version.

    Raises:
        InputError: the file is missing, a line is damaged, or a newer version wrote it.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run the step again") from error
    return tuple(_item(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line)


def _line(item: Item) -> str:
    fields = {"format": FORMAT, "kind": _NAMES[type(item)], **asdict(item)}
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _item(line: str, where: str) -> Item:
    try:
        head = json.loads(line)
        written, kind = head["format"], head["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{where}: not an item (a JSON object with format and kind); run the step again") from error
    if written != FORMAT:
        raise InputError(f"{where}: format {written!r} is not known (up to {FORMAT} is); use a newer ctr-pipeline")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InputError(f"{where}: kind {kind!r} is not known, must be one of {', '.join(_KINDS)}")
    return _validated(kind, line, where)


def _validated(kind: str, line: str, where: str) -> Item:
    try:
        return _READERS[kind].validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}: {kind} {field}: {first['msg']}; run the step again") from error
