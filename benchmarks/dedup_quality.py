"""bench-dedup's quality: which removals and pairs are right, ours and the peers', on planted and on natural documents.

A removal is right when the removed document has an exact Jaccard similarity of SAME with a document that was kept. A
document is missed when it was kept beside an earlier kept one of that similarity. Precision is right / removed, recall
right / (right + missed). A tool holds two documents for the same when they are in one cluster: `pair precision` is of
the pairs of a removed document and the kept one (or ones) of its cluster, `pair recall` of all true pairs.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

from benchmarks.dedup_planted import Plan, plant, pools
from benchmarks.dedup_runs import COMPONENTS, MINHASH, Decision, Document, Peers, curate, laid_out
from benchmarks.dedup_truth import Pairs, candidate_probability, exact_pairs, neighbours

#: two documents of this Jaccard similarity are the same
SAME = 0.8
#: removed documents by the similarity they have with their original: bounds of the table's columns
BANDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
PLANS = {"small": Plan(300, 30, 24, 8, 30, 15, 2, 40), "full": Plan(300, 30, 24, 8, 30, 15, 2, 40).times(6)}
VERIFIED, UNVERIFIED = "sluice", "sluice, verify: null"
#: standard deviations that chance may take from the recall that the S-curve gives
CHANCE = 3.0
MIN_PRECISION = 0.99


@dataclass(frozen=True)
class Corpus:
    """Documents {"id", "text", "source", "kind"} in the order of a run, and every pair that reaches 0.5."""

    name: str
    documents: Sequence[Document]
    pairs: Pairs


def score(corpus: Corpus, decision: Decision) -> dict[str, float]:
    """A tool's removals and pairs against the truth; shares of nothing are 1."""
    order = {document["id"]: number for number, document in enumerate(corpus.documents)}
    kept, cluster = decision.kept, decision.cluster
    removed = set(order) - kept
    same = neighbours(corpus.pairs, SAME)
    right = {id for id in removed if any(other in kept for other in same.get(id, ()))}
    missed = {id for id in kept if any(other in kept and order[other] < order[id] for other in same.get(id, ()))}
    chances = [
        candidate_probability(max(value for other, value in same[id].items() if other in kept)) for id in right | missed
    ]
    members: dict[str, list[str]] = {}
    for id, name in cluster.items():
        if id in kept:
            members.setdefault(name, []).append(id)
    stated = [(id, other) for id in removed for other in members.get(cluster.get(id, ""), ())]
    true = [pair for pair, similarity in corpus.pairs.items() if similarity >= SAME]
    return {
        "removed": len(removed),
        "right": len(right),
        "missed": len(missed),
        "precision": _share(len(right), len(removed)),
        "recall": _share(len(right), len(right) + len(missed)),
        "expected_recall": sum(chances) / len(chances) if chances else 1.0,
        "expected_recall_deviation": sqrt(sum(p * (1 - p) for p in chances)) / len(chances) if chances else 0.0,
        "pairs_stated": len(stated),
        "pair_precision": _share(sum(other in same.get(id, ()) for id, other in stated), len(stated)),
        "pair_recall": _share(sum(a in cluster and cluster[a] == cluster.get(b) for a, b in true), len(true)),
    }


def removed_by_similarity(corpus: Corpus, decision: Decision) -> dict[str, dict[str, float]]:
    """Of the planted pairs that no other document comes near: the share whose later or earlier document was removed,
    by the similarity of the two, and the S-curve's mean over the same pairs. The last band is J = 1."""
    near = neighbours(corpus.pairs, BANDS[0])
    alone = {
        pair: similarity for pair, similarity in corpus.pairs.items() if all(len(near.get(id, ())) == 1 for id in pair)
    }
    found = {}
    for low, high in zip(BANDS, (*BANDS[1:], 2.0), strict=True):
        some = {pair: similarity for pair, similarity in alone.items() if low <= similarity < high}
        if some:
            gone = sum(not decision.kept.issuperset(pair) for pair in some)
            curve = sum(map(candidate_probability, some.values())) / len(some)
            found[f"{low:g}" if low == 1 else f"{low:g}-{high:g}"] = {
                "pairs": len(some),
                "removed": gone / len(some),
                "s_curve": curve,
            }
    return found


def shares(documents: Sequence[Document], key: str, chosen: set[str]) -> dict[str, float]:
    """The share of chosen ids among the documents of each source, or kind."""
    held: dict[str, list[bool]] = {}
    for document in documents:
        held.setdefault(document[key], []).append(document["id"] in chosen)
    return {name: sum(claims) / len(claims) for name, claims in sorted(held.items())}


def expected_removals(corpus: Corpus) -> set[str]:
    """What goes when every document goes that has an earlier kept one of SAME similarity."""
    same = neighbours(corpus.pairs, SAME)
    kept: set[str] = set()
    for document in corpus.documents:
        if not any(other in kept for other in same.get(document["id"], ())):
            kept.add(document["id"])
    return {document["id"] for document in corpus.documents} - kept


def planted(data: str | None, size: str) -> Corpus:
    """The planted corpus (benchmarks.dedup_planted)."""
    made = plant(PLANS[size], pools(data))
    return Corpus("planted", made.documents, made.pairs)


def natural(data: str) -> Corpus | None:
    """DATA/dedup: revisions of real documents, docs.jsonl.gz (`id`, `text`, `source`), and every pair that reaches 0.5,
    all_pairs_J50.jsonl.gz (`a`, `b`, `jaccard_w5`); None when it is not there."""
    folder = Path(data) / "dedup"
    if not (folder / "docs.jsonl.gz").exists():
        return None
    rows, pairs = (_lines(folder / f"{name}.jsonl.gz") for name in ("docs", "all_pairs_J50"))
    documents = [
        {"id": row["id"], "text": row["text"], "kind": "natural"}
        | {"source": re.sub(r"[^\w.-]+", "_", row.get("source", "natural"))}  # also a file's name
        for row in rows
    ]
    documents.sort(key=lambda document: document["source"])
    order = {document["id"]: number for number, document in enumerate(documents)}
    listed = {}
    for pair in pairs:
        a, b = sorted((pair["a"], pair["b"]), key=order.__getitem__)
        listed[a, b] = pair["jaccard_w5"]
    return Corpus("natural", documents, listed)


def decisions(corpus: Corpus, peers: Peers, work: Path) -> tuple[dict[str, Decision], dict[str, list[str]]]:
    """What every tool decides about a corpus, and the sources that our reports are alarmed about."""
    inputs, together = laid_out(corpus.documents, work / corpus.name)
    found = {}
    verified = curate(inputs, [MINHASH], work / "verified")
    unverified = curate(inputs, [COMPONENTS], work / "unverified")
    found[VERIFIED], found[UNVERIFIED] = verified.decision, unverified.decision
    for name in peers.names:
        if (decided := peers.decision(name, together, work)) is not None:
            found[name] = decided
    ids = {document["id"] for document in corpus.documents}
    for name, decided in found.items():
        if not decided.kept <= ids or not decided.kept:
            raise SystemExit(f"{name} kept documents that it was not given, or none")
    return found, {VERIFIED: verified.alarms, UNVERIFIED: unverified.alarms}


def run(
    data: str | None, size: str, peers: Peers, work: Path
) -> tuple[dict[str, Any], dict[str, bool], dict[str, bool]]:
    """(what was found, by corpus; what must hold; the targets); each of them holds or not.

    The natural documents are judged twice, by the pairs that come with them and by those that are counted here: the two
    differ in what a word is.
    """
    corpora = [[planted(data, size)]]
    if data and (real := natural(data)) is not None:
        corpora.append([real, replace(real, name="natural, counted", pairs=exact_pairs(real.documents, BANDS[0]))])
    results: dict[str, Any] = {}
    claims: dict[str, bool] = {}
    targets: dict[str, bool] = {}
    for judged in corpora:
        found, alarms = decisions(judged[0], peers, work)
        for corpus in judged:
            results[corpus.name] = _judged(corpus, found) | {"alarms": alarms}
            targets |= _targets(corpus.name, results[corpus.name])
        if "template" in (lost := results[judged[0].name]["removed_by_kind"][VERIFIED]):
            claims["template families lose nothing"] = lost["template"] == 0
    return results, claims, targets


def _judged(corpus: Corpus, found: Mapping[str, Decision]) -> dict[str, Any]:
    """All tables of a corpus."""
    ids = {document["id"] for document in corpus.documents}
    gone = {name: ids - decided.kept for name, decided in found.items()}
    due = expected_removals(corpus)

    def by(key: str) -> dict[str, dict[str, float]]:
        return {name: shares(corpus.documents, key, some) for name, some in {"due": due, **gone}.items()}

    return {
        "documents": len(corpus.documents),
        "true_pairs": sum(similarity >= SAME for similarity in corpus.pairs.values()),
        "tools": {name: score(corpus, decided) for name, decided in found.items()},
        "removed_by_source": by("source"),
        "removed_by_kind": by("kind"),
        "removed_by_similarity": {name: removed_by_similarity(corpus, each) for name, each in found.items()},
    }


def _targets(name: str, found: Mapping[str, Any]) -> dict[str, bool]:
    ours = found["tools"][VERIFIED]
    least = ours["expected_recall"] - CHANCE * ours["expected_recall_deviation"]
    return {
        f"{name}: at least {MIN_PRECISION:g} of our removals are right": ours["precision"] >= MIN_PRECISION,
        f"{name}: our recall is that of the S-curve, or better": ours["recall"] >= least,
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
