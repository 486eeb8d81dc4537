"""What a run is made of and what it made: one canonical JSON document, `recipe.json`; see `docs/recipe.md`.

Only the *identity* has the recipe digest. Circumstances are compared and never digested; outputs have a digest of
their own; timings count nowhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from tracking.canonical import canonical_json, frozen, sha256_hex
from tracking.errors import InputError
from tracking.grade import Grade, Letter

FORMAT = 1
# Circumstances that the first release did not record: an empty one is not written, as it did not.
_LATER = frozenset({"package_origins"})


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known before the run and decides about its results.

    Attributes:
        code_digest: Over the content of every file that steps can import.
        data_digest: The input's logical digest.
        settings: The resolved settings, every default filled in; JSON-able.
        lock_digest: What the libraries are (`Environment.lock_digest`).
        python_version: Such as "3.12.1".
        seed: The seed of everything random.
        as_of: The clock that steps see, UTC in ISO 8601; None where no step asks for it.
    """

    code_digest: str
    data_digest: str
    settings: Mapping[str, Any]
    lock_digest: str
    python_version: str
    seed: int
    as_of: str | None = None

    def __post_init__(self) -> None:
        _freeze(self, "settings")

    @property
    def settings_digest(self) -> str:
        """The sha256 (hex) of the settings' canonical JSON."""
        return sha256_hex(canonical_json(self.settings, name="settings"))

    def to_record(self) -> dict[str, Any]:
        """The identity as JSON-able values, the settings' digest among them."""
        return _record(self) | {"settings_digest": self.settings_digest}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What surrounded the run: recorded, compared, named where it differs, never digested.

    Attributes:
        commit: The commit checked out; None without one.
        branch: The branch; None with a detached HEAD.
        remote: The remote's URL without credentials.
        pushed: Whether the remote was known to have the commit.
        dirty: Whether the tree differed from the commit.
        submodules: Path to commit of each repository inside the tree.
        snapshot_digest: The source snapshot's digest.
        argv: The command, secrets redacted.
        host: The machine's name.
        cpu: The processor's model.
        n_cores: Processor cores that could be used.
        gpus: The GPUs' models.
        platform: Operating system, release and architecture.
        timezone: The time zone in force.
        variables: Environment variables that can change a result (TZ, LANG, PYTHONHASHSEED, threads).
        config_variables: Environment variables that the settings were read from; secrets redacted.
        image_digest: The container image's digest; None outside one.
        packages: Name to version of each installed package.
        package_origins: Name to place of each installed package that no index gave (`Package.origin`).
        lock_path: The lock file, relative to the source tree; None without one.
        data_uri: Where the input was read from.
        file_digests: Each input file's name and the sha256 of its bytes.
        pinned_uri: Where the pinned copy is; None without one.
        s3_versions: Each S3 object's URI and VersionId.
        time_range: The first and last time in the input, UTC in ISO 8601; empty without a time column.
        user: Who started it.
        started_utc: When, UTC in ISO 8601.
    """

    commit: str | None = None
    branch: str | None = None
    remote: str | None = None
    pushed: bool = False
    dirty: bool = False
    submodules: Mapping[str, str | None] = field(default_factory=dict)
    snapshot_digest: str | None = None
    argv: tuple[str, ...] = ()
    host: str | None = None
    cpu: str | None = None
    n_cores: int | None = None
    gpus: tuple[str, ...] = ()
    platform: str | None = None
    timezone: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    config_variables: Mapping[str, str] = field(default_factory=dict)
    image_digest: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    package_origins: Mapping[str, str] = field(default_factory=dict)
    lock_path: str | None = None
    data_uri: str | None = None
    file_digests: Mapping[str, str] = field(default_factory=dict)
    pinned_uri: str | None = None
    s3_versions: Mapping[str, str] = field(default_factory=dict)
    time_range: tuple[str, ...] = ()
    user: str | None = None
    started_utc: str | None = None

    def __post_init__(self) -> None:
        _freeze(self, *(item.name for item in fields(self)))


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the run made.

    Attributes:
        layers: A layer's name ("splits", "encoder", "booster", "margins", "predictions", "metrics") to its digest.
    """

    layers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _freeze(self, "layers")

    @property
    def digest(self) -> str:
        """The sha256 (hex) over the layers' names and digests."""
        return sha256_hex(canonical_json(self.layers))


@dataclass(frozen=True, slots=True)
class Recipe:
    """One run's recipe.

    Attributes:
        identity: What decides about the results.
        circumstances: What surrounded the run.
        outputs: What it made; without layers before it ended.
        timings: Seconds by name ("wall_s", "train_s"); no part of any digest.
        grade: How sure the run can be redone; None while that is not settled.
    """

    identity: Identity
    circumstances: Circumstances
    outputs: Outputs = field(default_factory=Outputs)
    timings: Mapping[str, float] = field(default_factory=dict)
    grade: Grade | None = None

    def __post_init__(self) -> None:
        _freeze(self, "timings")

    @property
    def digest(self) -> str:
        """The recipe digest: the sha256 (hex) of the identity's canonical JSON."""
        return sha256_hex(canonical_json(self.identity.to_record()))

    def to_json(self) -> bytes:
        """The document, in canonical JSON.

        Raises:
            InputError: a value has no canonical spelling (NaN, a date); the message names its place.
        """
        return canonical_json(
            {
                "format": FORMAT,
                "recipe_digest": self.digest,
                "identity": self.identity.to_record(),
                "circumstances": _record(self.circumstances),
                "outputs": {"digest": self.outputs.digest, "layers": self.outputs.layers},
                "timings": self.timings,
                "grade": {"letter": self.grade.letter, "missing": self.grade.missing} if self.grade else None,
            }
        )

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """Read a document; circumstances that this version does not know are passed over.

        Raises:
            InputError: it is no recipe, is of a newer format, or was changed after it was written.
        """
        try:
            record = json.loads(document)
            found = record["format"]
        except (ValueError, LookupError, TypeError) as error:
            raise _unreadable(str(error)) from error
        if found != FORMAT:
            raise InputError(f"recipe format == {found}, must be {FORMAT}: read it with a newer ctr-pipeline.")
        try:
            recipe = cls._from_record(record)
            problem = _changed(recipe, record)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise _unreadable(f"{type(error).__name__}: {error}") from error
        if problem:
            raise InputError(
                f"recipe was changed after it was written: {problem}; fetch the run's own recipe.json again."
            )
        return recipe

    @classmethod
    def _from_record(cls, record: Mapping[str, Any]) -> Self:
        identity = {name: value for name, value in record["identity"].items() if name != "settings_digest"}
        known = {item.name for item in fields(Circumstances)}
        grade = record["grade"]
        return cls(
            identity=Identity(**identity),
            circumstances=Circumstances(**{name: v for name, v in record["circumstances"].items() if name in known}),
            outputs=Outputs(record["outputs"]["layers"]),
            timings=record["timings"],
            grade=Grade(Letter(grade["letter"]), tuple(grade["missing"])) if grade else None,
        )


def _changed(recipe: Recipe, record: Mapping[str, Any]) -> str:
    written = {
        "recipe_digest": (record["recipe_digest"], recipe.digest),
        "identity.settings_digest": (record["identity"]["settings_digest"], recipe.identity.settings_digest),
        "outputs.digest": (record["outputs"]["digest"], recipe.outputs.digest),
    }
    wrong = (f"{name} == {old}, must be {new}" for name, (old, new) in written.items() if old != new)
    return next(wrong, "")


def _unreadable(reason: str) -> InputError:
    return InputError(f"recipe cannot be read ({reason}): give the recipe.json of a run.")


def _record(value: Identity | Circumstances) -> dict[str, Any]:
    record = {item.name: getattr(value, item.name) for item in fields(value)}
    return {name: found for name, found in record.items() if found or name not in _LATER}


def _freeze(value: object, *names: str) -> None:
    """Make mappings and lists unchangeable, so that a digest asked for twice is the same."""
    for name in names:
        object.__setattr__(value, name, frozen(getattr(value, name)))
