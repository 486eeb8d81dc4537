"""The secret scan that runs before any source, argument or environment value leaves the machine.

A finding says where and what kind, never the secret. A line that ends with `pragma: allowlist secret` (in a
comment) is excused, and so is the line after one with `pragma: allowlist nextline secret`.
"""

import contextlib
import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tracking.aside import StoreError, replace_whole
from tracking.canonical import sha256_hex
from tracking.detectors import RULES_VERSION, Detector, config_detector, detectors, hinted, url_passwords
from tracking.errors import InputError

REDACTED = "[redacted]"

_CONFIG_SUFFIXES = frozenset({".yaml", ".yml", ".ini", ".cfg", ".toml", ".json", ".env", ".properties"})
_PRAGMA = re.compile(r"pragma: ?allowlist[ -]secret")
_PRAGMA_NEXT = re.compile(r"pragma: ?allowlist[ -]nextline[ -]secret")
_SECRET_NAME = re.compile(
    r"(?i)(?:password|passwd|passphrase|[_.-]pwd|secret|(?:^|[_.-])token|api[_-]?key|access[_-]?key|secret[_-]?key"
    r"|private[_-]?key|auth[_-]?key|credentials?)$"
)
_CREDENTIALS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/@:]*)(?::[^\s/]*)?@(?:[^\s/]*@)?")
_QUERY = re.compile(r"(?<=[?&])([\w.-]+)=([^&#\s]+)")
_CACHE_FORMAT = 1
_CACHE_LIMIT = 20_000
_SHOWN = 5


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A secret's place and kind: `file` as shown to the user, `line` from 1 (0: no line, such as a value)."""

    file: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.kind}" if self.line else f"{self.file}: {self.kind}"


class SecretFoundError(InputError):
    """Something that would be kept with the run holds a secret; nothing was written or sent."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        shown = "; ".join(str(finding) for finding in findings[:_SHOWN])
        more = f"; and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
        excuse = ", or end the line with `# pragma: allowlist secret` if it is none"
        super().__init__(
            f"{shown}{more}: a secret must not be kept with a run: take it out (and revoke it if it was ever shared)"
            f"{excuse if any(finding.line for finding in findings) else ''}."
        )
        self.findings = tuple(findings)


class SecretScanner:
    """Scans file contents; results are kept by content, so an unchanged file is scanned once.

    Args:
        cache: Where results are kept between processes; None keeps them in memory only. A damaged or foreign
            file is replaced. It holds digests, line numbers and kinds, nothing of any file's content.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._known: dict[str, tuple[tuple[int, str], ...]] = _load(cache) if cache else {}
        self._changed = False

    def scan(self, name: str, content: bytes, sha256: str | None = None) -> tuple[Finding, ...]:
        """The secrets in one file's content, in order of lines.

        Args:
            name: The file's name as the user knows it; its suffix decides about the rule for configuration.
            content: The file's bytes, in whatever encoding.
            sha256: The content's digest, where the caller has it already.
        """
        config = _is_config(name)
        key = f"{sha256 or sha256_hex(content)}{':config' if config else ''}"
        places = self._known.get(key)
        if places is None:
            places = tuple(_places(_decoded(content), config=config))
            self._known[key] = places
            self._changed = True
        return tuple(Finding(name, line, kind) for line, kind in places)

    def save(self) -> None:
        """Keep the results for the next process; a failure to write costs nothing but time, so it is let go."""
        if self._cache is None or not self._changed:
            return
        recent = dict(list(self._known.items())[-_CACHE_LIMIT:])
        record = {"format": _CACHE_FORMAT, "scanner": _scanner_version(), "results": recent}
        with contextlib.suppress(StoreError):
            replace_whole(self._cache, json.dumps(record, separators=(",", ":")).encode())
        self._changed = False


def scan_values(values: Mapping[str, str], *, of: str) -> tuple[Finding, ...]:
    """The named values that are secrets, by their name or by what they look like.

    Args:
        values: Such as environment variables or flat settings.
        of: What they are, as the user reads it: "environment variable", "setting".
    """
    found = ((name, _value_kind(name, value)) for name, value in sorted(values.items()))
    return tuple(Finding(f"{of} {name}", 0, kind) for name, kind in found if kind)


def redact(argv: Sequence[str]) -> tuple[str, ...]:
    """The arguments with every secret replaced: `--token X`, `db.password=X`, keys, passwords in URLs."""
    clean: list[str] = []
    previous = ""
    for argument in argv:
        is_option = argument.startswith("-")
        if not is_option and previous.startswith("--") and _SECRET_NAME.search(previous):
            clean.append(REDACTED)
        else:
            clean.append(_redact_one(argument))
        previous = argument
    return tuple(clean)


def redact_values(values: Mapping[str, str]) -> dict[str, str]:
    """The named values, with each that is a secret replaced."""
    return {name: REDACTED if _value_kind(name, value) else value for name, value in values.items()}


def redact_url(text: str) -> str:
    """The text without the credentials in its URLs; only an SSH URL keeps its user, who is no secret."""
    text = _CREDENTIALS.sub(lambda match: f"{match[1]}{match[2]}@" if "ssh" in match[1] else match[1], text)
    return _QUERY.sub(lambda match: f"{match[1]}={REDACTED}" if _SECRET_NAME.search(match[1]) else match[0], text)


def _redact_one(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if equals and value and _value_kind(name.lstrip("-"), value):
        return f"{name}={_without_url_passwords(value) if _only_url(name, value) else REDACTED}"
    if _line_kinds(argument, detectors()):
        return _without_url_passwords(argument) if _only_url("", argument) else REDACTED
    return redact_url(argument)  # a token can stand in a user's place


def _only_url(name: str, value: str) -> bool:
    return not _SECRET_NAME.search(name) and _line_kinds(value, detectors()) == ("password in a URL",)


def _without_url_passwords(text: str) -> str:
    for start, end in reversed(list(url_passwords(text))):
        text = text[:start] + REDACTED + text[end:]
    return text


def _value_kind(name: str, value: str) -> str | None:
    if value and _SECRET_NAME.search(name):
        return "secret by its name"
    # Some keys are known only beside their name (an AWS secret key is 40 letters), so both are looked at.
    kinds = _line_kinds(f"{name}={value}", detectors())
    return kinds[0] if kinds else None


def _places(text: str, *, config: bool) -> Iterator[tuple[int, str]]:
    # A rule that holds nowhere in the whole text holds in none of its lines, and one search is cheaper than many.
    hopeful = hinted(text, (*detectors(), config_detector()) if config else detectors())
    rules = tuple(rule for rule in hopeful if rule.holds(text))
    if not rules:
        return
    excused = False
    for number, line in enumerate(text.split("\n"), start=1):
        if not excused and not _PRAGMA.search(line):
            yield from ((number, kind) for kind in _line_kinds(line, rules))
        excused = _PRAGMA_NEXT.search(line) is not None


def _line_kinds(line: str, rules: tuple[Detector, ...]) -> tuple[str, ...]:
    kinds = dict.fromkeys(rule.kind for rule in hinted(line, rules) if rule.holds(line))
    if len(kinds) > 1:  # the general rule adds nothing to one that knows the vendor
        kinds.pop(config_detector().kind, None)
    return tuple(kinds)


def _is_config(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _CONFIG_SUFFIXES or path.name.startswith(".env")


def _decoded(content: bytes) -> str:
    is_utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    return content.decode("utf-16" if is_utf16 else "utf-8", errors="replace")


def _scanner_version() -> str:
    return f"{RULES_VERSION}/{importlib.metadata.version('detect-secrets')}"


def _load(cache: Path) -> dict[str, tuple[tuple[int, str], ...]]:
    try:
        record = json.loads(cache.read_bytes())
        if (record["format"], record["scanner"]) != (_CACHE_FORMAT, _scanner_version()):
            return {}
        results = record["results"].items()
        return {key: tuple((int(line), str(kind)) for line, kind in places) for key, places in results}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
