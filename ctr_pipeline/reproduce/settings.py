"""The settings of a reproduction: the run's own as the recipe proves them, and what is deliberately laid over them."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ctr_pipeline.config import Settings
from ctr_pipeline.config_file import explained, parse_override
from ctr_pipeline.reproduce.original import Original
from ctr_pipeline.reproduce.verdict import Difference, Ingredient
from ctr_pipeline.workflows.execution import SETTINGS_FILE
from ctr_pipeline.workflows.provenance import kept_settings
from tracking.errors import InputError
from tracking.recipe import Recipe

# What the identity says beside the settings: which rows the named files hold.
_DERIVED: Final = ("split.files_content",)
_MISSING: Final = object()


def look_up_settings(original: Original, recipe: Recipe) -> tuple[Mapping[str, Any] | None, Ingredient]:
    """Find the copy of a run's settings that says what the recipe's identity says."""
    wanted = recipe.identity.settings_digest
    path = original.documents.verified(SETTINGS_FILE, lambda copy: _agrees(copy, recipe))
    if path is None:
        found = f"no copy of {SETTINGS_FILE} says what the recipe says"
        remedy = f"restore the run's {SETTINGS_FILE}, among its artifacts or in its folder"
        return None, Ingredient("settings", ready=False, wanted=wanted, found=found, remedy=remedy)
    settings: Mapping[str, Any] = json.loads(path.read_bytes())
    return settings, Ingredient("settings", ready=True, wanted=wanted, found=str(path))


def current_settings(settings: Settings, recipe: Recipe) -> tuple[Mapping[str, Any], Ingredient]:
    """Take the settings of today's configuration, without a tracker's credentials.

    Raises:
        SecretFoundError: a value is a secret.
    """
    found = "today's configuration (asked for)"
    wanted = recipe.identity.settings_digest
    return kept_settings(settings).resolved(), Ingredient("settings", ready=True, wanted=wanted, found=found)


def laid_over(settings: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return settings with `key=value` texts laid over them.

    Args:
        settings: with every default filled in.
        overrides: dotted keys with YAML values.

    Raises:
        InputError: a key is none of the settings', or a text is no `key=value`.
    """
    changed: dict[str, Any] = json.loads(json.dumps(settings))
    for override in overrides:
        key, value = parse_override(override)
        *sections, last = key.split(".")
        place: Any = changed
        for section in sections:
            place = place.get(section, {}) if isinstance(place, dict) else {}
        if not isinstance(place, dict) or last not in place:
            known = [name for name, _ in leaves(settings)]
            close = difflib.get_close_matches(key, known, n=1)
            nearest = f"; the nearest is {close[0]}" if close else ""
            raise InputError(f"--set {override}: the run's settings have no key {key}{nearest}")
        place[last] = json.loads(json.dumps(value, default=_as_text))
    return changed


def require_valid(recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Check deviations before anything runs, where today's version knows the run's settings at all.

    Args:
        recorded: the run's own settings.
        settings: the same with deviations.

    Raises:
        InputError: a value breaks its rule.
    """
    try:
        Settings.from_json(json.dumps(recorded))
    except ValidationError:
        return  # of another version: its own steps judge
    try:
        Settings.from_json(json.dumps(settings))
    except ValidationError as error:
        raise InputError(explained(error.errors(include_url=False)[0], {}, "--set")) from error


def setting_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return what differs between the deciding parts of two runs' settings, by key."""
    old, new = dict(leaves(before)), dict(leaves(after))
    keys = sorted(old.keys() | new.keys())
    return tuple(
        Difference("settings", f"{key} {_text(old.get(key, _MISSING))} -> {_text(new.get(key, _MISSING))}")
        for key in keys
        if old.get(key, _MISSING) != new.get(key, _MISSING)
    )


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value by its dotted key; lists and empty groups count as values."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(value)


def _agrees(path: Path, recipe: Recipe) -> bool:
    try:
        told = dict(leaves(json.loads(path.read_bytes())))
    except (OSError, ValueError, AttributeError):
        return False
    decisive = ((key, value) for key, value in leaves(recipe.identity.settings) if key not in _DERIVED)
    return all(told.get(key, _MISSING) == value for key, value in decisive)


def _as_text(value: object) -> str:
    """Return what YAML reads and JSON does not know: a date is meant as text."""
    return value.isoformat() if isinstance(value, date) else str(value)


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _text(value: object) -> str:
    return "(absent)" if value is _MISSING else json.dumps(value, ensure_ascii=False)
