import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.canonical import sha256_hex
from tracking.secrets import (
    Finding,
    SecretFoundError,
    SecretScanner,
    redact,
    redact_url,
    redact_values,
    scan_values,
)

ROOT = Path(__file__).resolve().parents[2]
HEX32 = "0123456789abcdef" * 2
ALNUM = "abcdefghij0123456789ABCDEFGHIJ0123456789abcdefghij0123456789ABCDEFGHIJ0123456789"
JWT_HEAD, JWT_BODY = "eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0"
# Each is put together here, so that this file holds no secret itself.
SECRETS = {
    "AWS access key": "AKIA" + "QWERTYUIOPASDFGH",
    "AWS secret key": "AWS_SECRET_" + "ACCESS_KEY=" + ALNUM[:40],
    "private key": "-----BEGIN RSA PRIV" + "ATE KEY-----",
    "GitHub token": "ghp_" + ALNUM[:36],
    "GitLab token": "glpat-" + ALNUM[:20],
    "Slack token": "xoxb-" + "1234567890-abcdefghijkl",
    "Stripe key": "sk_live_" + ALNUM[:24],
    "npm token": "npm_" + ALNUM[:36],
    "PyPI token": "pypi-AgEIcHlwaS5vcmc" + ALNUM[:75],
    "OpenAI key": "sk-proj-" + ALNUM[:48],
    "Anthropic key": "sk-ant-" + "api03-" + ALNUM[:40],
    "Google API key": "AIza" + ALNUM[:35],
    "Google OAuth secret": "GOCSPX-" + ALNUM[:28],
    "Hugging Face token": "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "Databricks token": "dapi" + HEX32,
    "Azure storage key": "AccountKey=" + (ALNUM + ALNUM)[:86] + "==",
    "Azure shared access key": "SharedAccessKey=" + ALNUM[:43] + "=",
    "Azure shared access signature": "https://x.example/c?sv=1&sig=" + ALNUM[:44],
    "SendGrid key": "SG." + ALNUM[:22] + "." + ALNUM[:43],
    "Twilio key": "SK" + HEX32,
    "Mailchimp key": HEX32 + "-us12",
    "Telegram token": "123456789:AA" + ALNUM[:33],
    "Square secret": "sq0csp-" + ALNUM[:43],
    "Discord token": "discord = M" + ALNUM[:23] + "." + ALNUM[:6] + "." + ALNUM[:27],
    "JSON web token": JWT_HEAD + "." + JWT_BODY + "." + ALNUM[:43],
    "password in a URL": "postgresql://me:" + "h7Gd2k" + "@db.example/x",
}

URL = "https://me:" + "h7Gd2k" + "@x.example/a"


def kinds(text: str, name: str = "a.py") -> list[tuple[int, str]]:
    return [(finding.line, finding.kind) for finding in SecretScanner().scan(name, text.encode())]


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_of_secret_is_found_on_its_line(kind: str) -> None:
    assert kinds(f"x = 1\ny = '{SECRETS[kind]}'\nz = 2\n") == [(2, kind)]


@pytest.mark.parametrize(
    "line",
    [
        'digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"',
        "commit 7f3a2b1c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a",
        "password=password",
        "def login(password: str, api_key: str) -> None:",
        "password = os.environ['DB_PASSWORD']",
        "https://user:password@host/  # how a URL looks",
        "postgresql://{user}:{password}@{host}/x",
        "redis://:$PASSWORD@cache/0",
        "20260101:aabbccddeeffaabbccddeeffaabbccddeeffaabb",
        'data = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"',
        "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-1",
    ],
)
def test_digests_references_and_code_about_passwords_are_no_secrets(line: str) -> None:
    assert kinds(line) == []
    assert kinds(line, "notes.md") == []


@pytest.mark.parametrize(
    "line",
    [
        "db_password: hunter2hunter2",
        'api_key = "a1b2c3d4e5"',
        "export DB_PASSWORD=s3cr3tval",
        '{"client_secret": "q1w2e3r4"}',
        "access_token: abcdef123456",
        "token=abcdef123456",
    ],
)
def test_a_configuration_files_literal_secret_is_found(line: str) -> None:
    for name in ("conf/app.yaml", "a.json", ".env", ".env.local"):
        assert kinds(line, name) == [(1, "secret value")]
    assert kinds(line, "a.py") == []


@pytest.mark.parametrize(
    "line",
    [
        "password: ${DB_PASSWORD}",
        "password: <your-password-1>",
        "secret: my-secret-name",
        "secret_key_file: /run/secrets/key1",
        "password: /run/secrets/db1",
        "next_page: a1b2c3d4e5",
        "NextToken: a1b2c3d4e5",
        "private_key_id: a1b2c3d4e5",
        "password: s3://bucket/key1234",
        "api_key: null",
        "group_key: request_id_1",
        "token: settings.token1",
    ],
)
def test_a_configuration_files_reference_is_no_secret(line: str) -> None:
    assert kinds(line, "app.yaml") == []


def test_a_line_can_be_excused() -> None:
    secret = SECRETS["AWS access key"]
    assert kinds(f"a = '{secret}'  # pragma: allowlist secret\n") == []
    assert kinds(f"# pragma: allowlist nextline secret\na = '{secret}'\nb = '{secret}'\n") == [(3, "AWS access key")]


def test_other_encodings_and_binary_files_are_read_as_well_as_can_be() -> None:
    text = f"é = 1\nkey = '{SECRETS['AWS access key']}'\n"
    for content in (text.encode("utf-16"), text.encode("latin-1"), b"\x00\xff\n" + text.encode().split(b"\n")[1]):
        (finding,) = SecretScanner().scan("a.txt", content)
        assert (finding.line, finding.kind) == (2, "AWS access key")


def test_a_vendors_rule_is_named_rather_than_the_general_one() -> None:
    assert kinds(f"api_key: {SECRETS['GitHub token']}", "a.yaml") == [(1, "GitHub token")]


def test_no_finding_and_no_error_tells_the_secret(tmp_path: Path) -> None:
    secret = SECRETS["AWS access key"]
    findings = SecretScanner(tmp_path / "c").scan("a.py", secret.encode())
    assert secret not in repr(findings)
    assert secret not in str(SecretFoundError(findings))


def test_the_error_names_files_lines_kinds_and_the_remedy() -> None:
    findings = [Finding(f"{name}.py", 3, "AWS access key") for name in "abcdefg"]
    message = str(SecretFoundError(findings))
    assert message.startswith("a.py, line 3: AWS access key; b.py, line 3: AWS access key; ")
    assert "; and 2 more: a secret must not be kept with a run: take it out" in message
    assert message.endswith("or end the line with `# pragma: allowlist secret` if it is none.")
    assert SecretFoundError(findings).findings == tuple(findings)


class TestCache:
    def test_an_unchanged_file_is_scanned_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cache = tmp_path / "deep" / "cache.json"
        content = SECRETS["AWS access key"].encode()
        first = SecretScanner(cache)
        first.scan("a.py", content)
        first.save()
        monkeypatch.setattr("tracking.secrets.hinted", lambda *_: pytest.fail("scanned again"))
        second = SecretScanner(cache)
        assert second.scan("b.py", content, sha256_hex(content)) == (Finding("b.py", 1, "AWS access key"),)
        before = cache.stat().st_mtime_ns
        second.save()
        assert cache.stat().st_mtime_ns == before

    def test_the_same_content_under_a_configuration_name_is_another_question(self) -> None:
        scanner = SecretScanner()
        assert scanner.scan("a.py", b"db_password: hunter2hunter2") == ()
        assert scanner.scan("a.yaml", b"db_password: hunter2hunter2") != ()

    @pytest.mark.parametrize(
        "damaged",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'{"format":1}',
            b'{"format":99,"scanner":"","results":{}}',
            b'{"format":1,"scanner":"0/0","results":{}}',
            b"\xff\xfe",
        ],
    )
    def test_a_damaged_or_foreign_cache_is_replaced(self, tmp_path: Path, damaged: bytes) -> None:
        cache = tmp_path / "cache.json"
        cache.write_bytes(damaged)
        scanner = SecretScanner(cache)
        assert scanner.scan("a.py", b"x = 1") == ()
        scanner.save()
        assert json.loads(cache.read_bytes())["format"] == 1

    def test_damaged_results_are_forgotten(self, tmp_path: Path) -> None:
        cache = tmp_path / "cache.json"
        scanner = SecretScanner(cache)
        scanner.scan("a.py", b"x")
        scanner.save()
        record = json.loads(cache.read_bytes()) | {"results": {"k": 3}}
        cache.write_text(json.dumps(record))
        assert SecretScanner(cache).scan("a.py", SECRETS["AWS access key"].encode()) != ()

    def test_a_cache_that_cannot_be_written_costs_only_time(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        scanner = SecretScanner(tmp_path / "file" / "cache.json")
        scanner.scan("a.py", b"x")
        scanner.save()

    def test_it_holds_no_content(self, tmp_path: Path) -> None:
        cache = tmp_path / "cache.json"
        scanner = SecretScanner(cache)
        scanner.scan("a.py", SECRETS["AWS access key"].encode())
        scanner.save()
        assert SECRETS["AWS access key"] not in cache.read_text()


def test_this_repositorys_own_code_holds_no_secret() -> None:
    files = [path for folder in ("tracking", "ctr_pipeline", "tests") for path in (ROOT / folder).rglob("*.py")]
    scanner = SecretScanner()
    assert [finding for path in files for finding in scanner.scan(path.name, path.read_bytes())] == []


class TestArguments:
    @pytest.mark.parametrize(
        ("argv", "clean"),
        [
            (["run", "--set", "train.rounds=10"], ["run", "--set", "train.rounds=10"]),
            (["--token", "abc"], ["--token", "[redacted]"]),
            (["--token", "--json"], ["--token", "--json"]),
            (["--token=abc"], ["--token=[redacted]"]),
            (["--set", "db.password=abc"], ["--set", "db.password=[redacted]"]),
            (["--set", "columns.key=user_id"], ["--set", "columns.key=user_id"]),
            ([SECRETS["GitHub token"]], ["[redacted]"]),
            ([f"--uri={URL}"], ["--uri=https://me:[redacted]@x.example/a"]),
            ([URL], ["https://me:[redacted]@x.example/a"]),
            (["--tracking-uri", "https://t0ken@x.example/a"], ["--tracking-uri", "https://x.example/a"]),
            (["--password="], ["--password="]),
        ],
    )
    def test_secrets_are_replaced_and_nothing_else(self, argv: list[str], clean: list[str]) -> None:
        assert redact(argv) == tuple(clean)

    @given(st.lists(st.from_regex(r"[a-z.-]{0,12}(=[a-z0-9/]{0,8})?", fullmatch=True)))
    def test_redacting_twice_is_redacting_once(self, argv: list[str]) -> None:
        assert redact(redact(argv)) == redact(argv)


class TestValues:
    def test_a_value_is_a_secret_by_its_name_or_by_its_looks(self) -> None:
        values = {
            "DB_PASSWORD": "x",
            "HOME": "/root",
            "PWD": "/work",
            "NOTE": SECRETS["GitHub token"],
            "API_KEY": "",
            "AWS_REGION": "eu-west-1",
        }
        assert [str(finding) for finding in scan_values(values, of="environment variable")] == [
            "environment variable DB_PASSWORD: secret by its name",
            "environment variable NOTE: GitHub token",
        ]
        assert redact_values(values) == values | {"DB_PASSWORD": "[redacted]", "NOTE": "[redacted]"}

    def test_text_around_a_url_stays(self) -> None:
        assert redact_url(f"see {URL} and e@f") == "see https://x.example/a and e@f"


def test_a_url_is_shown_without_the_password_among_its_parameters() -> None:
    assert redact_url("postgresql://db/runs?user=ann&password=w0rd#a") == (
        "postgresql://db/runs?user=ann&password=[redacted]#a"
    )


def test_only_what_has_lines_is_told_how_a_line_is_excused() -> None:
    assert "pragma" not in str(SecretFoundError([Finding("setting data.uri", 0, "password in a URL")]))
    assert "pragma" in str(SecretFoundError([Finding("a.py", 1, "password in a URL")]))
