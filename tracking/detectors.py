"""What a secret looks like: patterns that name their vendor or their purpose, none that only looks random.

Digests, commit ids and base64 data are everywhere in an ML repository, so no high-entropy rule is used, nor any
rule without a distinctive mark (IBM, SoftLayer, Cloudant and Artifactory keys in detect-secrets are such).
Most rules come from detect-secrets' plugins; the rules below fill its gaps. Each has *hints*, plain text
of which a secret must hold one (a lower-case hint in any case): a file without any is never searched, which keeps
a scan cheap, and detect-secrets itself (.2 s to import) is loaded only for a file that needs it.

detect-secrets' keyword rule is not used: over 18,266 configuration files found on one machine it fired in 141,
nearly all false (`private_key_id`, `KmsKeyId`, prose). The rule here, for configuration files only, wants a key
that *ends* in a secret's name (but no paging key such as `NextToken`) and a value of 8 or more characters with letters
and digits that is no reference.
"""

import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

# Bump it whenever a rule changes: kept scan results of other versions are forgotten.
RULES_VERSION = "2"


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of secret: `holds(text)` says whether a line (or a whole file) has one."""

    kind: str
    hints: tuple[str, ...]
    holds: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Plugin:
    module: str
    name: str
    kind: str
    hints: tuple[str, ...]


# The plugins used, listed one by one: a new release of detect-secrets must not change a scan unnoticed.
_PLUGINS = (
    _Plugin("aws", "AWSKeyDetector", "AWS access key", ("AKIA", "ASIA", "A3T", "ABIA", "ACCA", "aws")),
    _Plugin("azure_storage_key", "AzureStorageKeyDetector", "Azure storage key", ("AccountKey=",)),
    _Plugin("discord", "DiscordBotTokenDetector", "Discord token", ("discord",)),
    _Plugin("github_token", "GitHubTokenDetector", "GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    _Plugin(
        "gitlab_token",
        "GitLabTokenDetector",
        "GitLab token",
        (
            "glpat-",
            "gldt-",
            "glft-",
            "glsoat-",
            "glrt-",
            "GR1348941",
            "glcbt-",
            "glimt-",
            "glptt-",
            "glagent-",
            "gloas",
        ),
    ),
    _Plugin("jwt", "JwtTokenDetector", "JSON web token", ("eyJ",)),
    _Plugin("openai", "OpenAIDetector", "OpenAI key", ("T3BlbkFJ",)),
    _Plugin("private_key", "PrivateKeyDetector", "private key", ("PRIVATE KEY", "PuTTY-User-Key-File")),
    _Plugin("pypi_token", "PypiTokenDetector", "PyPI token", ("pypi-AgE",)),
    _Plugin("sendgrid", "SendGridDetector", "SendGrid key", ("SG.",)),
    _Plugin("slack", "SlackDetector", "Slack token", ("xox", "hooks.slack.com")),
    _Plugin("square_oauth", "SquareOAuthDetector", "Square secret", ("sq0csp-",)),
    _Plugin("stripe", "StripeDetector", "Stripe key", ("k_live_",)),
)

_RULES = (
    ("AWS secret key", ("aws",), r"(?i)aws.{0,20}?secret.{0,20}?[=:]\s*[\"']?[a-z0-9/+]{40}(?![a-z0-9/+=])"),
    ("GitHub token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{50,}"),
    ("GitLab token", ("glpat-",), r"glpat-[A-Za-z0-9_.-]{20,}"),
    ("Slack token", ("xapp-", "xoxe"), r"xapp-\d-[A-Za-z0-9-]{20,}|xoxe(?:\.xox[bp])?-\d-[A-Za-z0-9-]{20,}"),
    ("Stripe key", ("whsec_",), r"whsec_[A-Za-z0-9+/]{32,}"),
    ("npm token", ("_authToken", "npm_"), r":_authToken\s*=\s*[A-Fa-f0-9-]{36}|\bnpm_[A-Za-z0-9]{36}\b"),
    ("OpenAI key", ("sk-proj-", "sk-svcacct-"), r"sk-(?:proj|svcacct)-[A-Za-z0-9_-]{40,}"),
    ("Anthropic key", ("sk-ant-",), r"sk-ant-[A-Za-z0-9_-]{32,}"),
    ("Google API key", ("AIza",), r"\bAIza[0-9A-Za-z_-]{35}"),
    ("Google OAuth secret", ("GOCSPX-",), r"GOCSPX-[0-9A-Za-z_-]{28}"),
    ("Hugging Face token", ("hf_",), r"\bhf_[A-Za-z]{34}\b"),
    ("Databricks token", ("dapi",), r"\bdapi[0-9a-f]{32}\b"),
    ("Twilio key", ("AC", "SK"), r"\b(?:AC|SK)[0-9a-f]{32}\b"),
    ("Mailchimp key", ("-us",), r"\b[0-9a-f]{32}-us\d{1,2}\b"),
    ("Telegram token", (":AA",), r"\b\d{8,10}:AA[0-9A-Za-z_-]{33}\b"),
    ("Azure shared access key", ("SharedAccessKey=",), r"SharedAccessKey=[A-Za-z0-9+/=]{40,}"),
    ("Azure shared access signature", ("sig=",), r"[?&]sig=[A-Za-z0-9%+/]{40,}"),
    # The groups keep this very file from being a finding.
    ("private key", ("PRIVATE KEY",), r"BEGIN (?:ENCRYPTED )PRIVATE KEY"),
    ("private key", ("PuTTY-User-Key-File",), r"PuTTY-User-Key-File-(?:3)"),
)

# A password in a URL; words that documentation writes in a password's place are let through.
_URL_PASSWORD = re.compile(r"://[^\s:/?#\[\]@\"'<>{}]*:([^\s/\"'@<>{}]+)@[\w.\[-]")
_PLACEHOLDER = re.compile(
    r"(?i)^(?:\[redacted\]|[$%].*|\*+|x+|\.+|pass|passwd|password|pwd|pw|secret|token|my[-_]?password)$"
)

_CONFIG_SECRET = re.compile(
    r"""(?ix) (?:^|[\s,{\[;]) (?:export\s+)? ["']?
    (?: [\w.-]* (?:password|passwd|passphrase|pwd|secret|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key
                 |auth[_-]?key|account[_-]?key|credentials?)
      | (?:[\w.-]*[_.-])? token ) ["']?
    [\t\x20]* [:=] [\t\x20]* ["']? ((?=[^\s"',}#]*\d) (?=[^\s"',}#]*[a-z]) [^\s"',}\#]{8,})"""
)
_REFERENCE = re.compile(r"[${}<>*%]|\.\.\.|://|^[./~]|^[a-z_]\w*(?:\.[a-z_]\w*)+$|(?:\(|\[)", re.IGNORECASE)
_CONFIG_HINTS = ("pass", "pwd", "secret", "key", "token", "credential")


class _Analyzer(Protocol):
    """What is used of a detect-secrets plugin."""

    def analyze_string(self, string: str) -> Iterator[str]: ...


@lru_cache(maxsize=1)
def detectors() -> tuple[Detector, ...]:
    """Every rule for any kind of text; the plugins' modules are imported when they are first needed."""
    url = Detector("password in a URL", ("://",), lambda text: any(True for _ in url_passwords(text)))
    rules = tuple(Detector(kind, hints, _searching(pattern)) for kind, hints, pattern in _RULES)
    return (url, *rules, *(Detector(plugin.kind, plugin.hints, _lazily(plugin)) for plugin in _PLUGINS))


@lru_cache(maxsize=1)
def config_detector() -> Detector:
    """The rule for configuration files only: a key named like a secret with a literal value."""
    return Detector("secret value", _CONFIG_HINTS, _has_config_secret)


def url_passwords(text: str) -> Iterator[tuple[int, int]]:
    """Where in a text the passwords of URLs stand: start and end of each."""
    for match in _URL_PASSWORD.finditer(text):
        if not _PLACEHOLDER.match(match.group(1)):
            yield match.span(1)


def hinted(text: str, rules: Iterable[Detector]) -> tuple[Detector, ...]:
    """The rules worth a search in this text: those of which some hint occurs in it."""
    lowered = text.lower()
    return tuple(rule for rule in rules if any(hint in (lowered if hint.islower() else text) for hint in rule.hints))


def _has_config_secret(text: str) -> bool:
    return any(not _REFERENCE.search(match.group(1)) for match in _CONFIG_SECRET.finditer(text))


def _searching(pattern: str) -> Callable[[str], bool]:
    expression = re.compile(pattern)
    return lambda text: expression.search(text) is not None


def _lazily(plugin: _Plugin) -> Callable[[str], bool]:
    return lambda text: any(True for _ in _plugin(plugin).analyze_string(text))


@lru_cache(maxsize=len(_PLUGINS))
def _plugin(plugin: _Plugin) -> _Analyzer:
    module = importlib.import_module(f"detect_secrets.plugins.{plugin.module}")
    analyzer: _Analyzer = getattr(module, plugin.name)()
    return analyzer
