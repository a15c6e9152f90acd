"""Pages that a curation run should notice: spam, boilerplate, code, mojibake, personal data and the like.

Each maker takes a random generator (and clean documents to spoil where it needs them) and returns one text.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from jobs.sample.documents import Document

_WARES = ("watches", "handbags", "insurance", "loans", "casino bonus", "diet pills", "sneakers", "essay service")
_SLOGANS = ("Buy now and save big today!", "Click here for the best price!", "Limited offer, order before midnight!")
_NAVIGATION = ("Home", "About us", "Contact", "Sign in", "Register", "Cart", "Sitemap", "Share on social media", "Next")
_NOTICES = (
    "This site uses cookies to improve your experience.",
    "By continuing you accept our cookie policy and the terms of use.",
    "Please enable JavaScript to view the comments.",
    "Read our privacy policy to learn how we use your data.",
)
_LOREM = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore "
    "magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo "
    "consequat. Duis aute irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur."
)
_CODE = """function {name}(items) {{
  let total = 0;
  for (const item of items) {{
    if (item.price > {limit}) {{ total += item.price * item.count; }}
  }}
  return total;
}}
"""


def keyword_stuffing(rng: random.Random) -> str:
    """A few keywords, over and over, on one line."""
    ware, other = rng.sample(_WARES, 2)
    phrase = f"cheap {ware} online {ware} best {ware} buy {ware} discount {ware} {other}"
    return " ".join([phrase] * rng.randint(12, 25)) + "."


def repeated_lines(rng: random.Random) -> str:
    """The same few slogans, line by line."""
    ware = rng.choice(_WARES)
    lines = [f"{rng.choice(_SLOGANS)} The best {ware} are only here." for _ in range(2)]
    return "\n".join(rng.choice(lines) for _ in range(rng.randint(15, 30)))


def hashtags(rng: random.Random) -> str:
    """Tags instead of sentences."""
    tags = [f"#{ware.replace(' ', '')}{rng.randint(1, 999)}" for ware in rng.choices(_WARES, k=60)]
    return "The new offers of the week have arrived with that.\n" + " # ".join(tags)


def navigation_page(rng: random.Random) -> str:
    """A page that is all menus."""
    entries = [f"{rng.choice(_NAVIGATION)} {rng.randint(1, 99)}" for _ in range(70)]
    return "\n".join(entries)


def with_notices(document: Document, rng: random.Random) -> str:
    """A good document between a menu line and the usual notices."""
    menu = " | ".join(rng.sample(_NAVIGATION, 5))
    return "\n\n".join([menu, document.text, *rng.sample(_NOTICES, 2)])


def lorem(document: Document, rng: random.Random) -> str:
    """Filler text that was never replaced."""
    return f"{document.text}\n\n{_LOREM}" if rng.random() < 0.5 else f"{_LOREM}\n\n{document.text}"


def code(document: Document, rng: random.Random) -> str:
    """A page with source code among its text."""
    snippet = _CODE.format(name=f"sum{rng.randint(1, 999)}", limit=rng.randint(5, 500))
    return f"{document.text}\n\n{snippet}"


def too_short(document: Document, rng: random.Random) -> str:
    """The first words of a document."""
    spaced = document.text.split()
    count = rng.randint(4, 24)
    return " ".join(spaced[:count]) if len(spaced) > 40 else document.text.replace("\n", "")[:count]


def personal_data(document: Document, rng: random.Random) -> str:
    """A good document with invented contact details (reserved domains, numbers and addresses)."""
    who = rng.choice(("nora", "daniel", "maya", "kofi", "tess"))
    details = (
        f"You can reach {who.title()} at {who}.{rng.randint(1, 99)}@example.com or by phone under "
        f"+1 202 555 01{rng.randint(0, 99):02d}. The last login came from 192.0.2.{rng.randint(1, 254)} yesterday."
    )
    return f"{document.text}\n\n{details}"


def mojibake(document: Document, damage: str) -> str:
    """UTF-8 read as Windows-1252 (`cp1252`, can be undone) or with every other byte lost (`lost`, cannot)."""
    data = document.text.encode()
    if damage == "cp1252":
        return data.decode("cp1252", errors="ignore")
    return "".join("\ufffd" if ord(letter) > 127 else letter for letter in document.text)


#: the makers of spam, which need nothing but a generator
SPAM: dict[str, Callable[[random.Random], str]] = {
    "keywords": keyword_stuffing,
    "lines": repeated_lines,
    "hashtags": hashtags,
}
