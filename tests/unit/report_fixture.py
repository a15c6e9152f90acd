"""A finished dataset folder made up from a seed: ledger, shards, manifest and run.json that agree with each other.

Rows are written in many languages and scripts, some are hostile (markup, terminal escapes, bidirectional overrides),
and every kind of ledger line occurs. `build` returns the plain Python lines too, so tests can count by themselves.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.report.recount import recount
from schemas.ledger import ledger_schema
from schemas.manifest import MANIFEST_NAME
from schemas.recipe import ImageTokens
from schemas.shard import shard_schema

SENTENCES = {
    "en": "The ferry leaves at seven, and the harbour smells of diesel and rain.",
    "de": "Die Fähre legt um sieben ab, und der Hafen riecht nach Diesel und Regen.",
    "fr": "Le bac part à sept heures, et le port sent le gazole et la pluie.",
    "es": "El transbordador sale a las siete y el puerto huele a gasóleo y a lluvia.",
    "pl": "Prom odpływa o siódmej, a w porcie pachnie ropą i deszczem.",
    "ru": "Паром отходит в семь, и в порту пахнет соляркой и дождём.",
    "el": "Το φέρι φεύγει στις επτά και το λιμάνι μυρίζει πετρέλαιο και βροχή.",
    "ar": "تغادر العبّارة في السابعة، وتفوح من الميناء رائحة الوقود والمطر.",
    "he": "המעבורת יוצאת בשבע, והנמל מריח מסולר ומגשם.",
    "fa": "کشتی ساعت هفت می‌رود و بندر بوی گازوئیل و باران می‌دهد.",
    "hi": "नाव सात बजे चलती है, और बंदरगाह में डीज़ल और बारिश की गंध है।",
    "bn": "ফেরি সাতটায় ছাড়ে, আর বন্দরে ডিজেল ও বৃষ্টির গন্ধ।",
    "th": "เรือข้ามฟากออกเจ็ดโมง ท่าเรือมีกลิ่นน้ำมันดีเซลและฝน",
    "zh": "渡轮七点开船，港口弥漫着柴油和雨水的气味。",
    "ja": "フェリーは七時に出る。港は軽油と雨の匂いがする。",
    "ko": "배는 일곱 시에 떠나고, 항구에서는 경유와 비 냄새가 난다.",
    "am": "ጀልባው ሰባት ሰዓት ይነሳል፤ ወደቡም ናፍጣና ዝናብ ይሸታል።",
    "sw": "Kivuko huondoka saa moja, na bandari inanuka dizeli na mvua.",
}
HOSTILE = (
    '<script>alert("planted")</script><img src=x onerror=alert(1)>',
    "</td></tr></table><style>*{display:none}</style> & &amp; {{ 7 * 7 }} {% raw %}",
    "invoice\u202efdp.exe\u2066 safe \u2069 \u200f end \x1b[31mred\x1b[0m \x07 \x9b31m bell",
    "zalgo H" + "\u0301\u0320\u0489\u0334" * 12 + "i\u2028next line\u0000nul ]]> --> \ufffc",
    'javascript:alert(1) " onmouseover="alert(2) \'><svg/onload=alert(3)>',
    "x" * 200,
)
SCORES = [
    pa.field("text.lang", pa.string()),
    pa.field("text.lang_score", pa.float64()),
    pa.field("text.lang_2", pa.string()),
    pa.field("text.lang_2_score", pa.float64()),
    pa.field("signal.gopher.word_count.datatrove", pa.int64()),
    pa.field("signal.gopher.alpha_ratio.datatrove", pa.float64()),
    pa.field("signal.gopher.top_2_gram_ratio.datatrove", pa.float64()),
    pa.field("signal.fineweb.short_line_ratio.paper", pa.float32()),
    pa.field("score.quality", pa.float32()),
    pa.field("decontamination.benchmark", pa.string()),
    pa.field("decontamination.item", pa.string()),
    pa.field("decontamination.num_ngrams", pa.int32()),
    pa.field("tokens.count", pa.int64()),
]
RECIPE = {
    "recipe": 1,
    "name": "harbour_v1",
    "description": "Made-up rows about a harbour, to look at a report with.",
    "seed": 17,
    "inputs": [
        {"use": "jsonl", "with": {"paths": "data/web/*.jsonl.gz", "name": "web"}},
        {"use": "jsonl", "with": {"paths": "data/forum/*.jsonl", "name": "forum"}},
        {"use": "jsonl", "with": {"paths": "data/mirror/*.jsonl", "name": "mirror"}},
        {"use": "jsonl", "with": {"paths": "data/spam/*.jsonl", "name": "spam_dump"}},
        {"use": "webdataset", "with": {"paths": "data/pairs/*.tar", "name": "pairs"}},
    ],
    "steps": [
        {"use": "text.normalize", "with": {}, "when": None},
        {"use": "text.language", "with": {"model": "lid.176", "keep": sorted(SENTENCES), "min_score": 0.65}},
        {"use": "image.size", "with": {"min_side_px": 64}},
        {"use": "text.gopher_quality", "with": {"preset": "datatrove"}},
        {"use": "select.range", "with": {"column": "score.quality", "min": 0.35, "reason": "low_quality"}},
        {"use": "text.minhash_dedup", "with": {"ngram": 5, "bands": 14, "rows_per_band": 8}},
    ],
    "tokens": {"tokenizer": {"train": {"vocab_size": 8192}}, "sequence_length": 256, "long_documents": "split"},
    "output": {"path": "out/harbour", "shard_tokens": 65536, "ledger": "first"},
}
SEQUENCE = 256

Line = dict[str, Any]


def make_lines(rows: int, seed: int = 5) -> list[Line]:
    """`rows` input rows and their removed parts, as ledger lines in input order."""
    rng = np.random.default_rng(seed)
    languages = list(SENTENCES)
    share = np.array([1 / (k + 1.5) for k in range(len(languages))])
    names = ["web", "forum", "mirror", "spam_dump", "pairs"]
    lines: list[Line] = []
    kept: dict[str, list[Line]] = {}
    for number in range(rows):
        dataset = str(rng.choice(names, p=[0.5, 0.2, 0.12, 0.03, 0.15]))
        lang = str(rng.choice(languages, p=share / share.sum()))
        source = f"{dataset}/part-{number % 7:03d}.jsonl#{number}"
        row = _blank(source, f"{dataset}-{number:06d}" if dataset != "forum" else source)
        row["modality"] = (
            str(rng.choice(["image", "audio", "mixed"], p=[0.7, 0.2, 0.1])) if dataset == "pairs" else "text"
        )
        text = SENTENCES[lang] + " " + " ".join([SENTENCES[lang]] * int(rng.integers(0, 4)))
        text = f"{number}. {HOSTILE[int(rng.integers(len(HOSTILE)))] if rng.random() < 0.02 else text}"
        row |= {"excerpt": text[:200], "num_chars": max(len(text), int(rng.lognormal(6.6, 1.1)))}
        if row["modality"] != "text":
            row["num_media_bytes"] = int(rng.lognormal(11, 0.8))
        lines.append(row)
        if row["modality"] != "text" and rng.random() < 0.12:
            lines.append(_part(row, rng))
        _judge(row, lang, dataset, rng, kept)
        if row["verdict"] == "kept":
            kept.setdefault(lang, []).append(row)
    return lines


def build(
    folder: Path, rows: int = 600, seed: int = 5, lines: list[Line] | None = None, with_run: bool = True
) -> list[Line]:
    """Writes a finished dataset folder; returns its ledger lines. The report is not written."""
    lines = make_lines(rows, seed) if lines is None else lines
    ledger = _write_ledger(folder, lines)
    shards = _write_shards(folder, lines)
    (folder / "tokenizer").mkdir(exist_ok=True)
    if with_run:
        (folder / "run.json").write_text(json.dumps(_run(len(lines))))
    write_manifest(folder, ledger, shards)
    return lines


def write_manifest(folder: Path, ledger: list[Path], shards: list[tuple[Path, int, int]]) -> None:
    """Writes the manifest of the given ledger files and (shard, rows, tokens)."""
    counts = recount(ledger, [path for path, _, _ in shards])
    manifest = {
        "schema_version": 1,
        "name": RECIPE["name"],
        "sluice_version": "0.1.0",
        "git_commit": "575ff98c0ffee",
        "recipe": RECIPE,
        "recipe_hash": "9f2c51d0aa74b3e8",
        "run_fingerprint": "77aa0c11d2",
        "input_fingerprint": "1b5e99cafe",
        "inputs": [{"label": f"web/part-{k:03d}.jsonl", "size": 1_234_567 + k} for k in range(7)],
        "sequence_length": SEQUENCE,
        "image": ImageTokens().model_dump(),
        "tokenizer": {
            "path": "tokenizer",
            "fingerprint": "d41d8cd98f00b204",
            "vocab_size": 8192,
            "special_ids": {"<|endoftext|>": 0, "<|image_pad|>": 3},
        },
        "shards": [_entry(folder, path) | {"rows": n, "tokens": t} for path, n, t in shards],
        "ledger": [_entry(folder, path) | {"rows": pq.read_metadata(path).num_rows} for path in ledger],
        "counts": counts.model_dump(),
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))


def _blank(source: str, row_id: str) -> Line:
    blank: Line = dict.fromkeys(field.name for field in ledger_schema(SCORES))
    return blank | {"id": row_id, "source": source, "verdict": "kept", "num_media_bytes": 0}


def _part(row: Line, rng: np.random.Generator) -> Line:
    step, reason = [("input:webdataset", "corrupt"), ("3:image.size", "too_small"), ("3:image.size", "too_large")][
        int(rng.integers(3))
    ]
    kind = "audio" if row["modality"] == "audio" else "image"
    return row | {
        "part": int(rng.integers(4)),
        "modality": kind,
        "verdict": "rejected",
        "step": step,
        "reason": reason,
        "detail": "32x17 px" if step.startswith("3") else "image file is truncated (19 bytes not processed)",
    }


def _judge(row: Line, lang: str, dataset: str, rng: np.random.Generator, kept: dict[str, list[Line]]) -> None:
    def reject(step: str, reason: str, detail: str | None = None, match: str | None = None) -> None:
        row.update(verdict="rejected", step=step, reason=reason, detail=detail, match_id=match)

    if rng.random() < 0.01:
        return reject("input:jsonl", "not_json", "line 17: unexpected character at column 3")
    row["text.lang"] = lang
    row["text.lang_score"] = float(np.clip(rng.beta(9, 1.2), 0, 1))
    row["text.lang_2"] = "de" if lang != "de" else "nl"
    row["text.lang_2_score"] = (
        (1 - row["text.lang_score"]) / 2 if row["num_chars"] % 5 else row["text.lang_score"] - 0.1
    )
    if row["text.lang_score"] < 0.65:
        return reject("2:text.language", "low_language_score", f"{row['text.lang_score']:.3f} < 0.65")
    words = max(1, int(row["num_chars"] / 5.8))
    row["signal.gopher.word_count.datatrove"] = words
    row["signal.gopher.alpha_ratio.datatrove"] = float(np.clip(rng.beta(20, 2.5), 0, 1))
    row["signal.gopher.top_2_gram_ratio.datatrove"] = float(rng.beta(1.5, 14))
    row["signal.fineweb.short_line_ratio.paper"] = float(rng.beta(1, 3))
    if words < 50:
        return reject("4:text.gopher_quality", "too_few_words", f"{words} < 50")
    if row["signal.gopher.alpha_ratio.datatrove"] < 0.8:
        return reject("4:text.gopher_quality", "too_few_alphabetic_words")
    if lang in ("th", "zh", "ja", "am") and rng.random() < 0.45:
        return reject("4:text.gopher_quality", "mean_word_too_long", "mean word length 41.7 > 10")
    row["score.quality"] = float(np.clip(rng.normal(0.62 if dataset != "spam_dump" else 0.15, 0.16), 0, 1))
    if row["score.quality"] < 0.35:
        return reject("5:select.range", "low_quality", f"score.quality {row['score.quality']:.3f} < 0.35")
    if kept.get(lang) and rng.random() < (0.62 if dataset == "mirror" else 0.08):
        match = kept[lang][int(rng.integers(len(kept[lang])))]
        row["excerpt"] = match["excerpt"][:150] + " (mirrored copy)"
        return reject("6:text.minhash_dedup", "duplicate", f"jaccard {rng.uniform(0.8, 1):.4f}", match["id"])
    row["tokens.count"] = max(1, row["num_chars"] // 4)
    return None


def _write_ledger(folder: Path, lines: list[Line]) -> list[Path]:
    (folder / "ledger").mkdir(parents=True, exist_ok=True)
    paths = []
    half = (len(lines) + 1) // 2
    for number, chunk in enumerate((lines[:half], lines[half:])):
        path = folder / "ledger" / f"part-{number:05d}.parquet"
        pq.write_table(pa.Table.from_pylist(chunk, ledger_schema(SCORES)), path, row_group_size=2000)
        paths.append(path)
    return paths


def _write_shards(folder: Path, lines: list[Line]) -> list[tuple[Path, int, int]]:
    """Next-fit packing, long documents split; two shards (none when nothing was kept)."""
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    sequences: list[list[tuple[str, int]]] = []
    room = 0
    for row in lines:
        left = row["tokens.count"] or 0 if row["verdict"] == "kept" else 0
        while left:
            piece = min(left, SEQUENCE)
            if piece > room:
                sequences.append([])
                room = SEQUENCE
            sequences[-1].append((row["id"], piece))
            room -= piece
            left -= piece
    half = (len(sequences) + 1) // 2
    written = []
    for number, chunk in enumerate(c for c in (sequences[:half], sequences[half:]) if c):
        path = folder / "shards" / f"shard-{number:05d}.arrow"
        write_shard(path, chunk)
        written.append((path, len(chunk), sum(length for sequence in chunk for _, length in sequence)))
    return written


def write_shard(path: Path, sequences: list[list[tuple[str, int]]]) -> Path:
    """Writes a token shard of sequences of (source id, tokens); its input ids are all 1."""
    schema = shard_schema(SEQUENCE)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, len(sequences), 64):
            some = sequences[start : start + 64]
            columns = {
                "document_lengths": [[length for _, length in sequence] for sequence in some],
                "source_ids": [[name for name, _ in sequence] for sequence in some],
            }
            ids = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(len(some) * SEQUENCE, np.int32)), SEQUENCE)
            arrays = [
                ids if field.name == "input_ids" else pa.array(columns.get(field.name, [[]] * len(some)), field.type)
                for field in schema
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return path


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {
        "path": str(path.relative_to(folder)),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _run(lines: int) -> dict[str, Any]:
    return {
        "seconds": 187.42,
        "cpu_seconds": 341.8,
        "peak_rss_bytes": 812 * 2**20,
        "runner": "direct",
        "workers": 2,
        "stages": [
            {"name": "units, stage 0", "seconds": 121.3, "units": 14},
            {"name": "text.minhash_dedup", "seconds": 21.9, "units": 14},
            {"name": "tokenizer", "seconds": 12.0, "units": 1},
            {"name": "units, stage 1", "seconds": 24.5, "units": 14},
            {"name": "pack", "seconds": 7.7, "units": 2},
        ],
        "dedup": {
            "9:text.exact_dedup": {"keys": 2300, "removed": 12, "removed_of_index": 3},
            "10:text.minhash_dedup": {
                "keys": 30000,
                "candidate_pairs": 940,
                "verified_pairs": 410,
                "crowded_keys": 2,
                "crowded_members": 260,
                "pairs_skipped": 14500,
                "removed_by_components": 190,
                "removed": 57,
                "removed_of_index": 0,
            },
        },
        "versions": {"sluice": "0.1.0", "apache-beam": "2.77.0", "pyarrow": "25.0.1", "lines": str(lines)},
        "machine": {"cpu": "x86_64", "cores": 2, "memory_bytes": 8 * 2**30},
    }
