"""Secrets are out before anything is written, and ordinary words stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from store.stores import profile, store_in

from proftool.contracts_store import RunQuery
from proftool.formats import native
from proftool.store.redact import Redactor, StreamRedactor, redact_argv, redact_profile

CANARY = "Canary7Q9zX4"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJDYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (("--token", CANARY), ("--token", "***")),
        (("--token=" + CANARY,), ("--token=***",)),
        (("--password=two " + CANARY,), ("--password=***",)),
        (("--db-password", CANARY, "x"), ("--db-password", "***", "x")),
        (("--api_key=" + CANARY,), ("--api_key=***",)),
        (("-password", CANARY), ("-password", "***")),
        (("env", "AWS_SECRET_ACCESS_KEY=" + CANARY, "python"), ("env", "AWS_SECRET_ACCESS_KEY=***", "python")),
        ((f"postgres://me:{CANARY}@host/db",), ("postgres://me:***@host/db",)),
        ((f"redis://:{CANARY}@host/0",), ("redis://:***@host/0",)),
        ((f"https://{CANARY}@github.com/a/b",), ("https://***@github.com/a/b",)),
        ((f"https://h/p?access_token={CANARY}&page=2",), ("https://h/p?access_token=***&page=2",)),
        (("-H", f"Authorization: Bearer {CANARY}"), ("-H", "Authorization: Bearer ***")),
        (("-c", f'connect(password="{CANARY}", user="me")'), ("-c", 'connect(password="***", user="me")')),
        (("-c", f"x = {{'api_key': '{CANARY}'}}"), ("-c", "x = {'api_key': '***'}")),
        (("sh", "-c", f"TOKEN={CANARY} run --secret {CANARY} now"), ("sh", "-c", "TOKEN=*** run --secret *** now")),
        (("AKIAIOSFODNN7EXAMPLE",), ("***",)),
        (("x-ghp_" + "a1" * 18,), ("x-***",)),
        (("xoxb-1234567890-abcdef",), ("***",)),
        ((JWT,), ("***",)),
        (("again", CANARY, "--token", CANARY), ("again", "***", "--token", "***")),
    ],
)
def test_secret_is_hidden_and_the_rest_stays(typed: tuple[str, ...], shown: tuple[str, ...]) -> None:
    """Each way to hand over a secret."""
    assert redact_argv(typed) == shown


@pytest.mark.parametrize(
    "typed",
    [
        ("--tokenizer", "bpe"),
        ("--max-tokens", "100"),
        ("--max-tokens=100",),
        ("--sort-key=name",),
        ("--password-file", "/run/pw"),
        ("--author", "me"),
        ("--bypass", "x"),
        ("--path=a",),
        ("git@github.com:a/b",),
        ("ssh://git@host/x",),
        ("https://host:8080/path?page=2#token",),
        ("--token", "--verbose"),
        ("-c", "def parse(token): return token.kind"),
        ("-m", "tokenize", "secrets.py"),
    ],
)
def test_ordinary_words_stay(typed: tuple[str, ...]) -> None:
    """A command without a secret is stored as typed."""
    assert redact_argv(typed) == typed


def test_users_own_pattern_is_hidden() -> None:
    """With a group `value`, only that part."""
    assert redact_argv(("customer=4711", "x"), (r"customer=(?P<value>\d+)",)) == ("customer=***", "x")
    assert redact_argv(("ACME-99",), (r"ACME-\d+",)) == ("***",)


def test_canary_is_in_no_file_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command, notes, process titles, sources and values of the environment: not in database, write-ahead log, blob or profile."""
    hidden = "EnvCanary5T8w"
    monkeypatch.setenv("DEPLOY_TOKEN", hidden)
    given = profile(1, command=("python", "deploy.py", "--token", CANARY, hidden), notes=(f"worker `deploy.py --token {CANARY}` died", JWT))
    given = replace(given, strings=(*given.strings, f"python deploy.py {CANARY} {hidden}"))
    given = given.with_meta(replace(given.meta, sources=(("app.py", f"KEY = '{CANARY}'\nJ = '{JWT}'\n"),)))
    store = store_in(tmp_path)
    with store.database.writing():
        pass
    run = store.add(given, label="x")
    secrets = [CANARY.encode(), hidden.encode(), JWT.encode()]
    for path in store.place.folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [s for s in secrets if s in content], path
    (found,) = store.find(RunQuery())
    loaded = store.load(run)
    text = repr((found, loaded.meta, loaded.strings))
    assert not [s for s in secrets if s.decode() in text]
    assert found.command == ("python", "deploy.py", "--token", "***", "***")
    assert loaded.meta.sources[0][1].count("\n") == 2


def test_redaction_leaves_a_clean_profile_as_it_is() -> None:
    """The bytes do not change where there is nothing to hide."""
    assert native.dumps(redact_profile(profile(3), environ={})) == native.dumps(profile(3))


def test_a_stream_is_redacted_by_the_same_rules() -> None:
    """The short cuts of `StreamRedactor` let nothing through, whatever length; the user's patterns hold in words too."""
    texts = [
        "GET", "", "/orders/{id}", "x" * 600, f"--token {CANARY}", f"token={CANARY}", f"https://{CANARY}@github.com", f"a?sig={CANARY}",
        f"Bearer {CANARY}", "AKIAIOSFODNN7EXAMPLE", "xoxb-1234567890", "sk-" + "a" * 20, JWT, "-----BEGIN PRIVATE KEY-----abc",
        f"{'x ' * 400} password={CANARY}", f"token:\t'{CANARY}'", f"secret={CANARY}",
    ]  # fmt: skip
    stream = StreamRedactor()
    for text in [*texts, *texts]:
        assert stream.text(text) == Redactor().text(text)
        assert CANARY not in stream.text(text)
    assert StreamRedactor((r"u-\d+",)).text("u-77") == "***"
