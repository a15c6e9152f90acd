"""The text part of the corpus: which records there are, in which order, and what is true of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.sample import faults
from jobs.sample.archives import json_bytes, write_gzip_lines
from jobs.sample.banks import HARD, KEPT, OTHER, load_bank
from jobs.sample.documents import Composer, Document
from jobs.sample.draws import draw
from jobs.sample.edits import edited
from jobs.sample.truth import Expected, Truth

FILES = 6
#: how many documents of each kind at scale 1
CLEAN_PER_LANGUAGE = 105
CLEAN_ENGLISH = 340
EXACT = 90
NEAR = 90
DISTANT = 40
TEMPLATES = {"en": 24, "de": 12, "es": 12, "ru": 12, "zh": 12, "ar": 12}
WRONG_LANGUAGE = 8  # of each of OTHER
HARD_LANGUAGE = 12
SPAM = 15  # of each maker
EACH_FAULT = 15
BROKEN = 6  # of each kind

#: similarity of near-duplicates, far above the recipe's 0.8, and of relatives that must survive, far below
NEAR_RANGE = (0.88, 0.99)
DISTANT_RANGE = (0.45, 0.62)
TEMPLATE_PARAGRAPHS = 4
#: template siblings share this much at most
TEMPLATE_MAX_JACCARD = 0.68


@dataclass(frozen=True, slots=True)
class Planted:
    """One record before it has a place. `body` is the text, or the whole line where the record is broken."""

    body: str | bytes
    kind: str
    expected: Expected
    lang: str | None = None
    register: str | None = None
    reason: str | None = None
    of: int | None = None  # position in the list of planted records
    jaccard: float | None = None
    note: str | None = None


def write_texts(folder: Path, seed: int, scale: float, dataset: str = "text") -> list[Truth]:
    """Writes DIR/text/part-*.jsonl.gz; returns the truth about every line."""
    (folder / dataset).mkdir()
    planted = list(plant(seed, scale))
    order = _order(planted, draw(seed, "text order"))
    per_file = -(-len(order) // FILES)
    place = {number: position for position, number in enumerate(order)}
    truths = []
    for at in range(0, len(order), per_file):
        name = f"{dataset}/part-{at // per_file:05d}.jsonl.gz"
        lines = []
        for row, number in enumerate(order[at : at + per_file]):
            record = planted[number]
            own_id, line = _line(record, at + row)
            original = None if record.of is None else _id(place[record.of])
            lines.append(line)
            truths.append(
                Truth(
                    id=own_id or f"{name}#{row}",
                    file=name,
                    row=row,
                    modality="text",
                    kind=record.kind,
                    expected=record.expected,
                    lang=record.lang,
                    reason=record.reason,
                    of=original,
                    jaccard=None if record.jaccard is None else round(record.jaccard, 4),
                    note=record.note,
                )
            )
        write_gzip_lines(folder / name, lines)
    return truths


def plant(seed: int, scale: float) -> Iterator[Planted]:
    """All records, originals before their copies."""

    def many(count: int) -> range:
        return range(max(1, round(count * scale)))

    composers = {lang: Composer(load_bank(lang), seed) for lang in (*KEPT, *OTHER, *HARD)}
    clean: list[Document] = []
    for lang in KEPT:
        for number in many(CLEAN_ENGLISH if lang == "en" else CLEAN_PER_LANGUAGE):
            clean.append(composers[lang].compose("clean", number))
            yield Planted(clean[-1].text, "clean", "kept", lang, clean[-1].register)
    for lang in HARD:
        for number in many(HARD_LANGUAGE):
            document = composers[lang].compose("hard", number)
            note = "correct text that lid.176 recognises with a low score"
            yield Planted(document.text, "hard_language", "either", lang, document.register, "language", note=note)
    for lang in OTHER:
        for number in many(WRONG_LANGUAGE):
            document = composers[lang].compose("wrong", number, max_jaccard=0.5)
            yield Planted(document.text, "wrong_language", "rejected", lang, document.register, "language")
    for lang, count in TEMPLATES.items():
        yield from plant_templates(composers[lang], len(many(count)))
    yield from _copies(clean, seed, len(many(EXACT)), len(many(NEAR)), len(many(DISTANT)))
    fresh = (composers["en"].compose("spoilt", number) for number in range(10**6))
    yield from _spoilt(fresh, clean, seed, len(many(SPAM)), len(many(EACH_FAULT)))
    yield from _broken(fresh, len(many(BROKEN)))


def plant_templates(composer: Composer, count: int) -> Iterator[Planted]:
    """Documents that begin with the same paragraphs and then say something else."""
    template = composer.template(TEMPLATE_PARAGRAPHS)
    for number in range(count):
        document = composer.compose("template", number, template=template, max_jaccard=TEMPLATE_MAX_JACCARD)
        note = "shares its first paragraphs with others, not what follows"
        yield Planted(document.text, "template", "kept", document.lang, document.register, note=note)


def _copies(clean: list[Document], seed: int, exact: int, near: int, distant: int) -> Iterator[Planted]:
    rng = draw(seed, "copies")
    wanted = exact + near + distant
    chosen = rng.sample(range(len(clean)), min(len(clean), wanted))
    for at, original in enumerate(chosen):
        document = clean[original]
        planted = Planted("", "exact_duplicate", "rejected", document.lang, document.register, "duplicate", original)
        if at < exact:
            # white space is no difference
            body = document.text if at % 2 else document.text.replace("\n\n", "\n \n") + "\n"
            yield replace(planted, body=body, jaccard=1.0)
        elif at < exact + near:
            body, similarity = edited(document.text, *NEAR_RANGE, rng)
            yield replace(planted, body=body, kind="near_duplicate", jaccard=similarity)
        else:
            body, similarity = edited(document.text, *DISTANT_RANGE, rng)
            note = "a heavy revision: related, but no duplicate"
            yield replace(
                planted, body=body, kind="revision", expected="kept", reason=None, jaccard=similarity, note=note
            )


def _spoilt(fresh: Iterator[Document], clean: list[Document], seed: int, spam: int, each: int) -> Iterator[Planted]:
    rng = draw(seed, "faults")
    for kind, maker in faults.SPAM.items():
        for _ in range(spam):
            yield Planted(maker(rng), "spam", "rejected", "en", reason="quality", note=kind)
    accented = [document for document in clean if document.lang in ("de", "fr", "es", "pt", "tr", "pl")]
    for number in range(each):
        yield Planted(faults.navigation_page(rng), "boilerplate", "rejected", "en", reason="quality")
        yield Planted(
            faults.with_notices(next(fresh), rng),
            "boilerplate_lines",
            "either",
            "en",
            reason="quality",
            note="a good document between menu and notices; line rules may clean it",
        )
        yield Planted(faults.lorem(next(fresh), rng), "lorem_ipsum", "rejected", "en", reason="quality")
        yield Planted(faults.code(next(fresh), rng), "code", "rejected", "en", reason="quality")
        yield Planted(faults.too_short(rng.choice(clean), rng), "too_short", "rejected", reason="quality")
        yield Planted(faults.personal_data(next(fresh), rng), "personal_data", "either", "en", reason="privacy")
        document = rng.choice(accented)
        damage = ("cp1252", "lost")[number % 2]
        note = {"cp1252": "repair makes it a duplicate", "lost": "letters are gone for good"}[damage]
        yield Planted(
            faults.mojibake(document, damage),
            "mojibake",
            "either",
            document.lang,
            reason="quality",
            of=clean.index(document),
            note=note,
        )


def _broken(fresh: Iterator[Document], each: int) -> Iterator[Planted]:
    for _ in range(each):
        text = next(fresh).text
        whole = json_bytes({"id": "x", "text": text})
        rows: dict[str, bytes] = {
            "bad_json": whole[: len(whole) // 2],
            "missing_text": json_bytes({"title": "no text here", "views": 3}),
            "null_text": json_bytes({"text": None, "title": "null"}),
            "wrong_type": json_bytes({"text": ["a", "list"], "title": "not a string"}),
            "not_an_object": json_bytes([text]),  # type: ignore[arg-type]
            "invalid_utf8": json.dumps({"text": text}).encode().replace(b" the ", b" th\xe9 ", 3),
        }
        for kind, line in rows.items():
            yield Planted(line, f"broken:{kind}", "rejected", reason="input")


def _order(planted: list[Planted], rng: random.Random) -> list[int]:
    """A shuffled order in which every original still comes before its copies."""
    order = list(range(len(planted)))
    rng.shuffle(order)
    place = {number: position for position, number in enumerate(order)}
    families: dict[int, list[int]] = {}
    for number, record in enumerate(planted):
        if record.of is not None:
            families.setdefault(record.of, [record.of]).append(number)
    for members in families.values():
        for number, position in zip(members, sorted(place[number] for number in members), strict=True):
            order[position] = number
    return order


def _id(position: int) -> str:
    return f"page-{position:05d}"


def _line(record: Planted, position: int) -> tuple[str | None, bytes]:
    """The record's id, if it has one of its own, and its line."""
    if isinstance(record.body, bytes):
        return None, record.body
    own_id = _id(position)
    url = f"https://{record.lang or 'www'}.example.org/{record.register or 'page'}/{position:05d}"
    fields = {"id": own_id, "text": record.body, "url": url, "license": "CC0-1.0"}
    return own_id, json_bytes(fields)
