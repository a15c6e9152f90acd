"""text.secrets: forms found and not found, what the ledger says, and time on hostile text.

Tokens are put together from pieces, so that this file sets off nobody's scanner.
"""

from __future__ import annotations

import base64
import json
import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.sample import SENTINEL, sample_batch
from transforms.registry import build
from transforms.text.secrets_patterns import find_secrets

RANDOM = "q8Zt3LmX9vRb2NcK7dHsW4fJ6gPy1TaEo5UiD0xVkBnMlCwQjGhSzYrFpAeIuO"


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


JWT = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part({'sub': '1234567890'})}.{RANDOM[:43]}"


def found(text: str) -> list[tuple[str, str]]:
    return [(kind, text[start:end]) for start, end, kind in find_secrets(text)]


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("aws_access_key", "ASIA" + "Q3EGZ2V4XW5R6T7Y"),
        ("github_token", "ghp" + "_" + RANDOM[:36]),
        ("github_token", "github" + "_pat_" + RANDOM[:22] + "_" + RANDOM[:59]),
        ("gitlab_token", "glpat" + "-" + RANDOM[:20]),
        ("slack_token", "xoxb" + "-123456789012-1234567890123-" + RANDOM[:24]),
        ("google_key", "AIza" + RANDOM[:35]),
        ("stripe_key", "sk" + "_live_" + RANDOM[:24]),
        ("openai_key", "sk" + "-proj-" + RANDOM[:48]),
        ("anthropic_key", "sk" + "-ant-api03-" + RANDOM[:50]),
        ("huggingface_token", "hf" + "_" + "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh"),
        ("npm_token", "npm" + "_" + RANDOM[:36]),
        ("sendgrid_key", "SG" + "." + RANDOM[:22] + "." + RANDOM[:43]),
        ("telegram_token", "123456789:" + "AA" + RANDOM[:33]),
        ("jwt", JWT),
        ("private_key", "-----BEGIN OPENSSH PRIVATE " + "KEY-----\nb3Blbn\n-----END OPENSSH PRIVATE KEY-----"),
        ("private_key", "-----BEGIN PGP PRIVATE " + "KEY BLOCK-----\n\nxcFG\n-----END PGP PRIVATE KEY BLOCK-----"),
    ],
)
def test_form_is_found_in_a_sentence(kind: str, secret: str) -> None:
    for before, after in (("", ""), ("Mine is ", "."), ('"', '"'), ("密钥：", "。"), (SENTINEL, SENTINEL), ("(", "),")):
        assert found(before + secret + after) == [(kind, secret)]


@pytest.mark.parametrize(
    "before",
    ['api_key = "', "API-KEY: ", '"clientSecret": "', "DB_PASSWORD=", "dbPassword = '", "token => ", "password:="],
)
def test_random_string_is_a_secret_where_it_is_assigned(before: str) -> None:
    assert found(before + RANDOM[:20]) == [("assigned_secret", RANDOM[:20])]
    assert found("colour = " + RANDOM[:20]) == []


def test_most_random_strings_are_found() -> None:
    """Those of letters and digits, in hexadecimal, and in small letters and digits; seeded, so the counts stay."""
    draw = random.Random(11)
    letters, digits = string.ascii_letters, string.digits
    for alphabet, chars in ((letters + digits, 24), (letters + digits + "+/", 40), ("abcdef" + digits, 40),
                            (string.ascii_lowercase + digits, 32)):  # fmt: skip
        values = ["".join(draw.choices(alphabet, k=chars)) for _ in range(300)]
        assert sum(found(f"api_key = '{value}'") == [("assigned_secret", value)] for value in values) > 270


@pytest.mark.parametrize(
    "text",
    [
        "password: hunter2 secret: changeme-changeme1 token=process.env.GITHUB_TOKEN1 api_key: your-api-key-goes-here1",
        "token: AutoTokenizer4Everyone password = getPassword(user1, user2) secret = 'aaaaaaaaaaaaaaaaaaa1'",
        "secret: Wonderland4Characters9Museum auth_token = mods/core/Universal2Converter7 api_key: /v/a1b2c3d4e5f6g7",
        "tokens: 12345678901234567890 key: 2021-03-04-12-30-45-999 password_file: /etc/app/2/password/store1",
        "monkey = " + RANDOM[:20] + " tokenizer: " + RANDOM[:20],
        "eyJhbGciOiJI.eyJzdWIiOiIx.abc eyJub3QiOiJqd3QifQ.eyJub3QiOiJqd3QifQ.abcdefgh",
        "AKIA1234 xAKIAIOSFODNN7EXAMPLE ghp_short sk_live_short AIzashort https://user@host/ http://a:b@c",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c",
    ],
)
def test_is_no_secret(text: str) -> None:
    assert found(text) == []


def test_reject_tells_kinds_and_places_but_no_secret() -> None:
    transform = build("text.secrets", {"action": "reject"})
    text = f"one {JWT} two postgres://bob:{RANDOM[:12]}@host/"
    outcome = transform.apply(sample_batch([{"id": "a", "source": "a", "text": text}]))
    detail = outcome.rejected.column("reject.detail")[0].as_py()
    assert detail == f"1 jwt, 1 url_password; the first at chars 4-{4 + len(JWT)}"


@given(st.lists(st.sampled_from([JWT, "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "\n", SENTINEL, "x",
    "api_key=", RANDOM[:20], "AAAABBBBCCCCDDDD\n", "://a:bcd@e"]), max_size=14).map("".join))  # fmt: skip
def test_replacing_keeps_sentinels_and_counts_what_it_replaces(text: str) -> None:
    row = build("text.secrets", {}).apply(sample_batch([{"id": "a", "source": "a", "text": text}])).kept.to_pylist()[0]
    assert row["text"].count(SENTINEL) == text.count(SENTINEL)
    assert row["text"].count("<SECRET>") == row["secrets.count"] == len(found(text))
    assert "-----BEGIN PRIVATE KEY-----" not in row["text"]


@pytest.mark.parametrize(
    "unit",
    [
        "eyJ", "eyJaaaaaaaa.", "eyJaaaaaaaa.aaaaaaaa.", "api_key=", "api_key = a1", "a://a:", "://a:a", "a1:",
        "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\nAAAABBBBCCCCDDDD", "-----BEGIN ", "AAAA1111 ",
        "token:a1b2c3d4e5f6g7h8 ", "token \t\n", "SG.", "xoxb-", "AKIA", "ghp_", "=", "= ", "sk_live_", "A B C D ",
    ],
)  # fmt: skip
def test_hostile_text_takes_linear_time(unit: str) -> None:
    """Under a fifth of a second here for 100 kB: the bound is loose because machines differ."""
    text = unit * (100_000 // len(unit))
    start = time.process_time()
    find_secrets(text)
    assert time.process_time() - start < 4
