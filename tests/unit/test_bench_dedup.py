"""bench-dedup's truth, its planted corpora and its scores: checked by hand and by brute force on tiny inputs."""

import itertools
import json
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import dedup_runs, dedup_scale, dedup_speed, dedup_tables
from benchmarks.dedup_planted import CHAIN_LENGTH, LEVELS, LISTED, TEMPLATE_SHARES, TEMPLATED, Plan, plant, pools
from benchmarks.dedup_quality import (
    SAME,
    Corpus,
    expected_removals,
    natural,
    removed_by_similarity,
    score,
    shares,
)
from benchmarks.dedup_runs import Curated, Decision, Peers, laid_out
from benchmarks.dedup_truth import candidate_probability, clusters, exact_pairs, neighbours, shingles
from benchmarks.harness import Cost

PLAN = Plan(unrelated=6, exact=3, edits=2, prefixes=1, quotes=4, chains=2, families=1, members=5)


@pytest.fixture(scope="module")
def sentences():
    return pools(None)


@pytest.fixture(scope="module")
def made(sentences):
    return plant(PLAN, sentences)


def test_shingles_are_word_5_grams():
    assert shingles("One twö, THREE\nfour five 66!") == {"one two three four five", "two three four five 0"}
    assert shingles("One two") == {"one two"}
    assert shingles("我喜欢猫猫") == {"我 喜 欢 猫 猫"}
    assert shingles(" …") == frozenset()


@given(st.lists(st.text("ab ", max_size=24), max_size=7), st.sampled_from([0.01, 0.5, 1.0]))
def test_pairs_are_those_of_all_sets_compared(texts, at_least):
    documents = [{"id": str(k), "text": text} for k, text in enumerate(texts)]
    expected = {}
    for a, b in itertools.combinations(documents, 2):
        one, two = shingles(a["text"]), shingles(b["text"])
        if one & two and len(one & two) / len(one | two) >= at_least:
            expected[a["id"], b["id"]] = len(one & two) / len(one | two)
    assert exact_pairs(documents, at_least) == expected


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_clusters_are_connected_components(pairs):
    named = [(str(a), str(b)) for a, b in pairs]
    groups = []
    for a, b in named:
        touched = [group for group in groups if {a, b} & group]
        groups = [group for group in groups if group not in touched] + [set().union({a, b}, *touched)]
    found = clusters(named)
    assert found.keys() == set().union(*groups)
    assert sorted(map(sorted, groups)) == sorted(
        sorted(id for id, name in found.items() if name == each) for each in set(found.values())
    )


def test_the_s_curve_is_the_published_one():
    assert candidate_probability(0.8) == pytest.approx(0.924, abs=5e-4)  # datatrove's own comment on 14 x 8
    assert (candidate_probability(0.0), candidate_probability(1.0)) == (0, 1)


def test_a_plan_is_planted_in_full_and_always_alike(made, sentences):
    counted = {kind: sum(d["kind"] == kind for d in made.documents) for kind in {d["kind"] for d in made.documents}}
    assert counted == {
        "unrelated": 6,
        "exact": 2 * 3,
        "edit": 2 * 2 * len(LEVELS),
        "prefix": 2 * len(LEVELS),
        "quote": 2 * 4,
        "chain": 2 * CHAIN_LENGTH,
        "template": 5 * len(TEMPLATE_SHARES),
    }
    assert plant(PLAN, sentences) == made
    assert plant(PLAN, sentences, seed=18) != made
    assert [d["source"] for d in made.documents] == sorted(d["source"] for d in made.documents)
    assert {d["kind"] for d in made.documents if d["source"] == TEMPLATED} == {"template"}
    assert PLAN.times(3) == Plan(18, 9, 6, 3, 12, 6, 3, 5)


def test_what_is_planted_has_the_similarity_it_should(made):
    kind = {document["id"]: document["kind"] for document in made.documents}
    assert all(kind[a] == kind[b] for a, b in made.pairs)
    by_kind = {each: sorted(J for (a, _), J in made.pairs.items() if kind[a] == each) for each in set(kind.values())}
    assert by_kind["exact"] == [1.0] * 3
    assert by_kind["unrelated"] == []
    assert 0.6 < max(by_kind["template"]) < SAME
    assert len(by_kind["template"]) >= 10 * sum(share / (2 - share) > 1.2 * LISTED for share in TEMPLATE_SHARES)
    assert max(by_kind["quote"], default=0) < SAME
    assert len(by_kind["chain"]) >= 2 * (CHAIN_LENGTH - 1)
    for found, level in zip(by_kind["prefix"], sorted(LEVELS), strict=True):
        assert found == pytest.approx(level, abs=0.06)
    assert len(by_kind["edit"]) >= 2 * (len(LEVELS) - 1)
    middle = by_kind["edit"][len(by_kind["edit"]) // 2]
    assert middle == pytest.approx(sorted(LEVELS)[len(LEVELS) // 2], abs=0.1)
    assert min(made.pairs.values()) >= LISTED


def test_sentences_of_a_folder_go_by_their_language(tmp_path):
    lines = [f"This is sentence number {'x' * k} of a page." for k in range(1, 320)]
    rows = [
        {"text": "\n".join(lines), "lang_label": "en"},
        {"text": "Un deux trois quatre cinq six.", "lang_label": "fr"},
    ]
    folder = tmp_path / "text" / "jsonl"
    dedup_runs.write([{"id": str(k), **row} for k, row in enumerate(rows)], folder, 1)
    assert pools(str(tmp_path)) == {"en": lines}  # French has too few to plant from
    with pytest.raises(SystemExit, match="too few sentences"):
        pools(str(tmp_path / "text"))


def corpus(pairs, count=6, kind="edit"):
    documents = [{"id": each, "text": each, "source": f"s{k % 2}", "kind": kind} for k, each in enumerate("abcdefghij")]
    return Corpus("tiny", documents[:count], pairs)


def test_scores_of_a_case_worked_out_by_hand():
    """a and b are the same, b and c too, a and c are not; d and e share a template; f is alone."""
    tiny = corpus({("a", "b"): 0.9, ("b", "c"): 0.8, ("a", "c"): 0.7, ("d", "e"): 0.75})
    assert expected_removals(tiny) == {"b"}
    verified = score(tiny, Decision(frozenset("acdef"), {"a": "1", "b": "1"}))
    assert (verified["removed"], verified["right"], verified["missed"]) == (1, 1, 0)
    assert (verified["precision"], verified["recall"]) == (1, 1)
    assert verified["expected_recall"] == candidate_probability(0.9)
    assert (verified["pairs_stated"], verified["pair_precision"], verified["pair_recall"]) == (1, 1, 0.5)
    components = score(tiny, Decision(frozenset("adf"), {"a": "1", "b": "1", "c": "1", "d": "2", "e": "2"}))
    assert (components["removed"], components["right"], components["precision"]) == (3, 1, 1 / 3)
    assert (components["pairs_stated"], components["pair_precision"], components["pair_recall"]) == (3, 1 / 3, 1)
    nothing = score(tiny, Decision(frozenset("abcdef"), {}))
    assert (nothing["removed"], nothing["missed"], nothing["precision"], nothing["recall"]) == (0, 2, 1, 0)
    assert nothing["expected_recall"] == pytest.approx((candidate_probability(0.9) + candidate_probability(0.8)) / 2)
    apart = score(tiny, Decision(frozenset("abdef"), {"a": "1", "d": "1", "b": "2", "c": "2"}))
    assert apart["pair_recall"] == 0.5  # a and b are in a cluster, not in the same
    wrong = score(tiny, Decision(frozenset("abcde"), {}))  # f went for nothing
    assert (wrong["removed"], wrong["right"], wrong["precision"], wrong["pairs_stated"]) == (1, 0, 0, 0)


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")).filter(lambda pair: pair[0] < pair[1]),
        st.sampled_from([0.7, 0.8, 0.95]),
    ),
    st.sets(st.sampled_from("abcdef"), min_size=1),
)
def test_right_and_missed_by_brute_force(pairs, kept):
    found = score(corpus(pairs), Decision(frozenset(kept), {}))
    true = {pair for pair, similarity in pairs.items() if similarity >= SAME}
    right = {d for d in set("abcdef") - kept if any({d, other} <= set(pair) for pair in true for other in kept - {d})}
    missed = {b for a, b in true if a in kept and b in kept}
    assert (found["right"], found["missed"]) == (len(right), len(missed))
    left = sorted(set("abcdef") - expected_removals(corpus(pairs)))
    assert not [pair for pair in true if set(pair) <= set(left)]


def test_pairs_are_counted_by_similarity_when_nothing_else_is_near():
    tiny = corpus({("a", "b"): 0.82, ("c", "d"): 0.84, ("e", "f"): 1.0, ("g", "h"): 0.9, ("h", "i"): 0.9}, count=10)
    found = removed_by_similarity(tiny, Decision(frozenset("abcegj"), {}))
    curve = (candidate_probability(0.82) + candidate_probability(0.84)) / 2
    assert found == {
        "0.8-0.85": {"pairs": 2, "removed": 0.5, "s_curve": pytest.approx(curve)},
        "1": {"pairs": 1, "removed": 1.0, "s_curve": 1.0},
    }


def test_shares_are_of_each_source():
    assert shares(corpus({}).documents, "source", {"a", "b", "c"}) == {"s0": 2 / 3, "s1": 1 / 3}


def test_natural_pairs_come_in_the_order_of_the_documents(tmp_path):
    folder = tmp_path / "dedup"
    dedup_runs.write([{"id": each, "text": each} for each in "ba"], folder / "x", 1)
    (folder / "x" / "part-00000.jsonl.gz").rename(folder / "docs.jsonl.gz")
    dedup_runs.write([{"a": "a", "b": "b", "jaccard_w5": 0.9, "text": ""}], folder / "y", 1)
    (folder / "y" / "part-00000.jsonl.gz").rename(folder / "all_pairs_J50.jsonl.gz")
    assert natural(str(tmp_path)).pairs == {("b", "a"): 0.9}
    assert natural(str(tmp_path / "dedup")) is None


def test_decisions_come_from_the_ledger(tmp_path):
    rows = [
        {"id": "a", "verdict": "kept", "step": None, "match_id": None},
        {"id": "b", "verdict": "rejected", "step": "1:x", "match_id": "a"},
        {"id": "c", "verdict": "rejected", "step": "2:y", "match_id": "b"},
        {"id": "d", "verdict": "rejected", "step": "0:z", "match_id": None},
    ]
    (tmp_path / "ledger").mkdir()
    schema = pa.schema([(name, pa.string()) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "ledger" / "l.parquet")
    made = Curated(Cost(1, 1, 1, 1, 1), tmp_path)
    assert made.decision.kept == {"a"}
    assert made.decision.cluster.keys() == set("abc") and len(set(made.decision.cluster.values())) == 1
    assert made.removals == {("b", "1:x", "a"), ("c", "2:y", "b"), ("d", "0:z", None)}


def test_both_sides_get_the_documents_in_one_order(tmp_path, made):
    inputs, together = laid_out(made.documents, tmp_path)
    assert [source["name"] for source in inputs] == sorted({d["source"] for d in made.documents})
    lines = dedup_speed.load_rows(together)
    assert lines == [{"id": d["id"], "text": d["text"]} for d in made.documents]


def test_a_peer_that_cannot_be_had_is_named_with_the_reason(tmp_path, monkeypatch):
    def fails(name, requirements):
        raise subprocess.CalledProcessError(1, ["pip"])

    monkeypatch.setattr(dedup_runs, "peer_python", fails)
    peers = Peers(["text-dedup"])
    assert peers.absent == {"text-dedup": "`pip install text-dedup==0.4.0` failed with exit code 1"}
    assert peers.decision("text-dedup", tmp_path, tmp_path) is None
    assert "text-dedup is missing: `pip" in dedup_tables.absent(peers.absent)


def test_the_documents_of_the_large_run_are_what_their_numbers_say(tmp_path):
    paths = dedup_scale.write(tmp_path / "rows", 200, 4)
    documents = [json.loads(line) for path in paths for line in Path(path).read_text().splitlines()]
    assert [document["id"] for document in documents] == [f"{k:07d}" for k in range(200)]
    kinds = {document["id"]: dedup_scale.kind(k) for k, document in enumerate(documents)}
    same = neighbours(exact_pairs(documents, SAME), SAME)
    for document in documents[20:]:
        id = document["id"]
        earlier = {other: J for other, J in same.get(id, {}).items() if other < id and kinds[other] == "original"}
        assert bool(earlier) == (kinds[id] in ("copy", "near"))
        assert (1.0 in earlier.values()) == (kinds[id] == "copy")
    family = [document for document in documents if kinds[document["id"]] == "template"]
    assert {round(J, 1) for J in exact_pairs(family, 0.01).values()} == {0.6}
    assert len(exact_pairs(family, 0.01)) == 20 * 19 / 2


def test_start_up_counts_for_neither_side():
    ours = {("all", "with"): 15.0, ("start", "with"): 5.0, ("all", "without"): 7.0, ("start", "without"): 4.0}
    table = dedup_speed.table(700, ours, {"all": 80.0, "start": 10.0})
    assert [(stage.ours, stage.ratio["datatrove"]) for stage in table.values()] == [
        (100, 10),  # 15 - 5 - (7 - 4) = 7 seconds against 70
        (70, 7),
        (pytest.approx(700 / 15), pytest.approx(80 / 15)),
    ]
    with pytest.raises(SystemExit, match="too busy"):
        dedup_speed.table(700, ours, {"all": 10.0, "start": 10.0})
    assert dedup_speed.table(700, ours, {})["MinHash alone"].ratio == {}


def test_claims_show_what_does_not_hold():
    (shown,) = dedup_tables.claims({"yes": True, "no": False}, {})
    assert shown.splitlines()[2:] == ["| yes | pass |", "| no | **FAIL** |"]
