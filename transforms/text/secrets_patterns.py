"""Secrets by form: keys and tokens whose issuers gave them a mark of their own, and assignments of random strings.

Repetition is bounded or possessive and every pattern starts with a literal, so that searching is linear in the text.
Forms are those their issuers document; most scanners know the same (Yelp's detect-secrets, gitleaks).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator

Span = tuple[int, int, str]

_B64URL = r"A-Za-z0-9_-"
_START, _END = rf"(?<![{_B64URL}])", rf"(?![{_B64URL}])"

#: (kind, literals, pattern): texts without one of the literals are not searched. The group `secret`, if there is one,
#: is what is secret of the match.
_FORMS: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (kind, tuple(literals.split()), re.compile(pattern))
    for kind, literals, pattern in (
        (
            "aws_access_key",
            "AKIA ASIA ABIA ACCA AGPA AIDA AROA ANPA",
            r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        ),
        (
            "aws_secret_key",
            "key Key KEY",
            r"(?i:aws_?secret(?:_?access)?_?key|secretaccesskey)[\"']?\s{0,4}(?:=>|[:=])\s{0,4}[\"']?"
            r"(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        ),
        ("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", rf"{_START}gh[pousr]_[A-Za-z0-9]{{36,255}}{_END}"),
        ("github_token", "github_pat_", rf"{_START}github_pat_[A-Za-z0-9_]{{36,255}}{_END}"),
        (
            "gitlab_token",
            "glpat- gldt- glrt- glft- glptt- glsoat- glcbt- glagent- glimt- gloas-",
            rf"{_START}gl(?:pat|dt|rt|ft|ptt|soat|cbt|agent|imt|oas)-[{_B64URL}]{{20,255}}(?:\.[a-z0-9.]{{1,40}})?{_END}",
        ),
        ("slack_token", "xox", rf"{_START}xox[abceoprs]-(?:[0-9]{{1,2}}-)?[A-Za-z0-9-]{{10,250}}{_END}"),
        ("slack_token", "xapp-", rf"{_START}xapp-[0-9]-[A-Za-z0-9-]{{20,250}}{_END}"),
        (
            "slack_webhook",
            "hooks.slack.com",
            r"hooks\.slack\.com/(?:services|workflows)/"
            r"(?P<secret>[A-Z][A-Za-z0-9]{6,20}/[A-Za-z0-9]{6,20}/[A-Za-z0-9]{16,60})",
        ),
        ("google_key", "AIza", rf"{_START}AIza[{_B64URL}]{{35}}{_END}"),
        ("google_key", "GOCSPX-", rf"{_START}GOCSPX-[{_B64URL}]{{28}}{_END}"),
        ("google_key", "ya29.", rf"{_START}ya29\.[{_B64URL}]{{30,400}}{_END}"),
        ("stripe_key", "_live_ _test_", r"(?<![A-Za-z0-9])(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,250}(?![A-Za-z0-9])"),
        ("stripe_key", "whsec_", r"(?<![A-Za-z0-9])whsec_[A-Za-z0-9+/]{32,100}={0,2}"),
        ("openai_key", "sk-", rf"{_START}sk-(?:proj|svcacct|admin|None)-[{_B64URL}]{{20,250}}{_END}"),
        ("openai_key", "T3BlbkFJ", rf"{_START}sk-[A-Za-z0-9]{{20}}T3BlbkFJ[A-Za-z0-9]{{20}}{_END}"),
        ("anthropic_key", "sk-ant-", rf"{_START}sk-ant-[a-z0-9]{{2,10}}-[{_B64URL}]{{20,250}}{_END}"),
        ("huggingface_token", "hf_", rf"{_START}hf_[A-Za-z]{{34}}{_END}"),
        ("npm_token", "npm_", rf"{_START}npm_[A-Za-z0-9]{{36}}{_END}"),
        ("pypi_token", "pypi-AgE", rf"{_START}pypi-AgE[{_B64URL}]{{50,250}}{_END}"),
        ("sendgrid_key", "SG.", rf"{_START}SG\.[{_B64URL}]{{22}}\.[{_B64URL}]{{43}}{_END}"),
        ("digitalocean_token", "_v1_", rf"{_START}do[opr]_v1_[a-f0-9]{{64}}{_END}"),
        ("shopify_token", "shp", rf"{_START}shp(?:at|ca|pa|ss)_[a-fA-F0-9]{{32}}{_END}"),
        ("telegram_token", ":AA", r"(?<![0-9A-Za-z_])[0-9]{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])"),
        (
            "azure_key",
            "AccountKey= SharedAccessKey=",
            r"(?:AccountKey|SharedAccessKey)=(?P<secret>[A-Za-z0-9+/]{42,100}={0,2})",
        ),
        (
            "url_password",
            "://",
            r"[a-z]://[A-Za-z0-9._~%-]{1,64}:(?P<secret>[^\s:/?#\[\]@\"'<>{}$\ufffc]{3,100})@(?=[A-Za-z0-9\[])",
        ),
    )
)  # fmt: skip
_JWT = re.compile(rf"{_START}eyJ[{_B64URL}]{{8,2000}}+\.[{_B64URL}]{{8,20000}}+\.[{_B64URL}]{{0,2000}}+{_END}")
_KEY_MARK = re.compile(r"-----(BEGIN|END) (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_MAX_KEY_CHARS = 20_000
_KEY_BODY = re.compile(r"(?:\s{0,4}[A-Za-z0-9+/=]{16,80}){1,400}")

_NAMES = (
    r"api[_.-]?key|secret(?:[_.-]?(?:key|token))?|(?:access|auth|bearer|refresh|client|session)[_.-]?(?:token|secret|key)"
    r"|(?:private|encryption|signing)[_.-]?key|token|passw(?:or)?d|passphrase|credentials?"
)
#: NAME = "value", NAME: value, "name": "value"; the value is judged by `_is_random`
_VALUE = re.compile(
    r"[:=]>?\s{0,4}[\"'`]?(?P<secret>[A-Za-z0-9+/_.~!@#$%^&*-]{12,128}+={0,2})(?![A-Za-z0-9(\[])",
)
_NAME = re.compile(rf"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?i:{_NAMES})[\"']?\s{{0,4}}:?\Z")
_NAME_CHARS = 64
_PLACEHOLDER = re.compile(
    r"example|sample|your|dummy|placeholder|changeme|change_me|redacted|insert|secret|password|token|xxx|\*\*\*|\.\.\."
    r"|123456|abcdef|foobar|process\.|os\.|env\.|self\.|this\.|config\.|\$\{|\$\(|%\(",
    re.IGNORECASE,
)
_NAME_OR_PATH = re.compile(r"^[a-z]+(?:[_.-][a-z]+)+$|^[A-Za-z]+[0-9]{0,4}$|^[0-9._-]+$|^/|://")
#: a random string of letters and digits seldom has so many small letters in a row, and has more digits
_WORD_IN = re.compile(r"[a-z]{7,}|[A-Z]{10,}")
_MAX_WORDY_DIGIT_RATIO = 0.15
_HEX = re.compile(r"[0-9a-fA-F-]+")
#: bits a character: random base64 of 20 characters has about 4, hex 3.3; words and identifiers less
_MIN_ENTROPY, _MIN_HEX_ENTROPY, _MIN_HEX_CHARS = 3.5, 3.0, 32


def find_secrets(text: str) -> list[Span]:
    """(start, end, kind) of all secrets, in order and apart."""
    found: list[Span] = []
    for finder in _FINDERS:
        found += finder(text)
    apart: list[Span] = []
    for span in sorted(found, key=lambda span: (span[0], -span[1])):
        if not apart or span[0] >= apart[-1][1]:
            apart.append(span)
        elif span[1] > apart[-1][1]:  # two that overlap are one
            apart[-1] = (apart[-1][0], span[1], apart[-1][2])
    return apart


def _private_keys(text: str) -> Iterator[Span]:
    """PEM and PGP blocks, from BEGIN to END; without an END, the lines of base64 that follow."""
    if "PRIVATE KEY" not in text:
        return
    begin: re.Match[str] | None = None
    for mark in _KEY_MARK.finditer(text):
        if mark[1] == "BEGIN":
            if begin is not None:
                yield _open_key(text, begin)
            begin = mark
        elif begin is not None:
            if mark.end() - begin.start() <= _MAX_KEY_CHARS:
                yield begin.start(), mark.end(), "private_key"
            else:
                yield _open_key(text, begin)
            begin = None
    if begin is not None:
        yield _open_key(text, begin)


def _open_key(text: str, begin: re.Match[str]) -> Span:
    body = _KEY_BODY.match(text, begin.end())
    return begin.start(), body.end() if body else begin.end(), "private_key"


def _marked(text: str) -> Iterator[Span]:
    for kind, literals, pattern in _FORMS:
        if not any(literal in text for literal in literals):
            continue
        for match in pattern.finditer(text):
            start, end = match.span("secret") if "secret" in pattern.groupindex else match.span()
            yield start, end, kind


def _jwts(text: str) -> Iterator[Span]:
    """JSON web tokens (RFC 7519): three parts, the first a JSON object that names an algorithm."""
    if "eyJ" not in text:
        return
    for match in _JWT.finditer(text):
        head = match[0].split(".", 1)[0]
        try:
            header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        except (binascii.Error, ValueError, RecursionError):
            continue
        if isinstance(header, dict) and "alg" in header:
            yield *match.span(), "jwt"


def _assignments(text: str) -> Iterator[Span]:
    for match in _VALUE.finditer(text):
        start = match.start()
        if _is_random(match["secret"]) and _NAME.search(text, max(0, start - _NAME_CHARS), start):
            yield *match.span("secret"), "assigned_secret"


def _is_random(value: str) -> bool:
    """Whether a value is neither words nor a placeholder: of many different characters, digits among letters."""
    if _PLACEHOLDER.search(value) or _NAME_OR_PATH.search(value):
        return False
    if _WORD_IN.search(value) and sum(map(str.isdigit, value)) <= _MAX_WORDY_DIGIT_RATIO * len(value):
        return False
    if not (any(map(str.isdigit, value)) and any(map(str.isalpha, value))):
        return False
    if _HEX.fullmatch(value):
        return len(value) >= _MIN_HEX_CHARS and _entropy(value) >= _MIN_HEX_ENTROPY
    return len(value) >= 16 and _entropy(value) >= _MIN_ENTROPY


def _entropy(value: str) -> float:
    """Shannon entropy of the characters, in bits a character."""
    counts = sorted(Counter(value).values())  # in order, so that the sum of floats is one and the same
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


_FINDERS: tuple[Callable[[str], Iterator[Span]], ...] = (_private_keys, _marked, _jwts, _assignments)
