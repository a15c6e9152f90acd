"""The benchmark harness: what it measures and what it generates must be right before a ratio means anything."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.agreement import check_curated, check_stages
from benchmarks.corpus import Corpus, copies, load, text_bytes, write
from benchmarks.generate import SHARES, document
from benchmarks.harness import Cost, Stage, markdown, typical, write_section
from benchmarks.language import accuracy, best_of, library, ours
from benchmarks.ours import main as our_stages
from benchmarks.tables import curated_table, stages_table

ROOT = Path(__file__).parents[2]

BUSY = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


def measured(tmp_path, program):
    result = tmp_path / "cost.json"
    command = [sys.executable, "-m", "benchmarks.measure", str(result), sys.executable, "-c", program]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    return json.loads(result.read_text())


def test_cpu_time_of_the_command_is_counted(tmp_path):
    cost = measured(tmp_path, BUSY.format(seconds=0.5))
    assert cost["exit_code"] == 0
    assert 0.5 <= cost["cpu_s"] < 0.9
    assert cost["wall_s"] >= 0.4


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are only followed on Linux")
def test_cpu_time_of_an_orphan_is_counted(tmp_path):
    """A fork server's way: the helper outlives its parent, and nobody but us waits for it."""
    orphan = BUSY.format(seconds=0.5)
    program = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {orphan!r}])\n"
    assert measured(tmp_path, program)["cpu_s"] >= 0.5


def test_a_failing_command_is_reported(tmp_path):
    assert measured(tmp_path, "raise SystemExit(7)")["exit_code"] == 7


def test_memory_is_summed_over_processes(tmp_path):
    child = "import time; block = bytearray(b'x') * (64 << 20); time.sleep(1.5)"
    program = (
        "import subprocess, sys\n"
        f"children = [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in range(2)]\n"
        "for child in children: child.wait()\n"
    )
    cost = measured(tmp_path, program)
    assert cost["peak_rss_bytes"] > 2 * (64 << 20)
    assert cost["main_rss_bytes"] < 64 << 20 < cost["worker_rss_bytes"] < 2 * (64 << 20)


def test_ratios_above_one_are_in_our_favour():
    assert Stage.of(200.0, {"peer": 50.0}, "documents a second").ratio == {"peer": 4.0}
    assert Stage.of(200.0, {"peer": 50.0}, "MiB", less_is_better=True).ratio == {"peer": 0.25}


def test_the_typical_cost_is_the_median_of_each_figure():
    costs = [Cost(1.0, 9.0, 5, 1, 4), Cost(3.0, 7.0, 6, 2, 3), Cost(2.0, 8.0, 7, 3, 5)]
    assert typical(costs) == Cost(2.0, 8.0, 6, 2, 4)


def test_pages_are_written_in_order_and_counted(tmp_path):
    pages = [{"id": str(k), "text": f"naïve {k}"} for k in range(30)]
    corpus = write(pages, tmp_path / "a", 4)
    assert (corpus.documents, corpus.text_bytes) == (30, sum(len(page["text"].encode()) for page in pages))
    assert len(list(corpus.folder.iterdir())) == 4
    assert texts(corpus.folder) == [page["text"] for page in pages]


def test_real_pages_come_in_an_order_of_their_own_and_know_their_english(tmp_path):
    rows = [{"id": str(k), "text": f"text {k}", "lang_label": ("en", "de")[k % 2]} for k in range(140)]
    write([*rows, {"id": "blank", "text": " \n", "lang_label": "en"}], tmp_path / "whole", 3)
    found = load(str(tmp_path / "whole"))
    assert sorted(page["id"] for page in found.everything) == sorted(row["id"] for row in rows)
    assert {int(page["id"]) % 2 for page in found.english} == {0}
    assert [page for page in found.everything if page in found.english] == found.english
    write(rows[::-1], tmp_path / "backwards", 1)
    assert load(str(tmp_path / "backwards")).everything == found.everything


def test_a_folder_without_pages_or_english_ones_or_with_an_id_twice_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match=r"no \*.jsonl.gz"):
        load(str(tmp_path))
    write([{"id": "a", "text": "one"}, {"id": "a", "text": "two"}], tmp_path / "twice", 2)
    with pytest.raises(SystemExit, match="the same id"):
        load(str(tmp_path / "twice"))
    write([{"id": str(k), "text": "texte", "lang_label": "fr"} for k in range(100)], tmp_path / "french", 1)
    with pytest.raises(SystemExit, match="0 documents are labelled en"):
        load(str(tmp_path / "french"))


def test_a_copy_has_other_words_in_the_same_places():
    pages = [{"id": str(k), "text": document(17, k)["text"]} for k in range(60)]
    made = copies(pages, 3)
    assert made[:60] == pages
    assert len({page["id"] for page in made}) == 180
    for copy in (made[60:120], made[120:]):
        assert text_bytes(copy) == text_bytes(pages)
        assert [page["text"].count("\n") for page in copy] == [page["text"].count("\n") for page in pages]
        english = [k for k in range(60) if document(17, k)["kind"] == "english"]
        shared = [len(shingles(copy[k]["text"]) & shingles(pages[k]["text"])) for k in english]
        assert sum(shared) < 0.01 * sum(len(shingles(pages[k]["text"])) for k in english)
        # the same word becomes the same word everywhere: what was a duplicate still is
        same = [[page["text"] for page in some].index(some[k]["text"]) for some in (pages, copy) for k in range(60)]
        assert same[:60] == same[60:]


def test_our_stages_do_their_work_on_every_document(tmp_path):
    pages = [{"id": str(k), "text": document(17, k)["text"]} for k in range(60)]
    folder = str(write(pages, tmp_path / "pages", 2).folder)
    found = our_stages({"pages": folder, "english": folder, "dedup": folder, "tokenizer": "bytes"})
    assert {stage: row["documents"] for stage, row in found.items()} == dict.fromkeys(
        ("read", "language", "filters", "exact", "minhash", "tokens"), 60
    )
    assert {row["bytes"] for row in found.values()} == {text_bytes(pages)}
    assert found["tokens"]["tokens"] == {page["id"]: len(page["text"].encode()) + 1 for page in pages}
    kinds = {str(k): document(17, k)["kind"] for k in range(60)}
    assert {found["language"]["labels"][id] for id, kind in kinds.items() if kind == "english"} == {"en"}
    assert {kinds[id] for id in found["filters"]["kept"]}.isdisjoint({"short", "list", "repeated_lines"})
    copies_left = 60 - len({page["text"] for page in pages})
    assert found["exact"]["dropped"] == copies_left > 0
    assert found["minhash"]["dropped"] >= copies_left


def side(**stages):
    return {name: {"documents": 2, "bytes": 2_000_000, "cpu_s": 1.0, **facts} for name, facts in stages.items()}


OURS = side(language={"labels": {"a": "en", "b": "de"}}, filters={"kept": ["a"]}, tokens={"tokens": {"a": 3, "b": 4}})


def test_stages_are_compared_over_the_peers_documents():
    theirs = side(language={"labels": {"a": "en"}}, filters={"kept": []}, tokens={"tokens": 3})
    found = check_stages(OURS, {"peer": theirs}, ["a"], ["a", "b"])
    assert found["peer"] == {"same_language": 1, "tokens": 1, "same_filter_verdict": 0.5, "filters_kept_ratio": 0}
    assert found["sluice"] == {"filters_kept_ratio": 0.5}


@pytest.mark.parametrize(
    ("labels", "tokens", "said"),
    [({"a": "en"}, 7, "labelled 1 documents, not the 2"), ({"a": "en", "b": "de"}, 8, "made 8 tokens")],
)
def test_a_side_that_did_other_work_stops_the_benchmark(labels, tokens, said):
    theirs = side(language={"labels": labels}, filters={}, tokens={"tokens": tokens})
    with pytest.raises(SystemExit, match=said):
        check_stages(OURS, {"peer": theirs}, ["a", "b"], ["a", "b"])


def test_a_pipeline_that_lost_documents_stops_the_benchmark():
    ours, theirs = {"a": "kept", "b": "rejected", "c": "duplicate"}, {"a": "kept", "b": "kept"}
    assert check_curated(ours, theirs, 3, ["a", "b"])["same_filter_verdict"] == 0.5
    with pytest.raises(SystemExit, match="sluice accounts for 3"):
        check_curated(ours, theirs, 4, ["a", "b"])
    with pytest.raises(SystemExit, match="datatrove read 2"):
        check_curated(ours, theirs, 3, ["a", "b", "c"])


def test_rates_of_stages_are_over_each_sides_own_text():
    names = ("read", "language", "filters", "exact", "minhash", "tokens")
    measured = {
        "ours": side(**{name: {} for name in names}),
        "floors": side(**{name: {"cpu_s": 0.5} for name in names}),
        "datatrove": side(**{name: {"bytes": 1_000_000, "cpu_s": 5.0} for name in names}),
        "dolma": side(read={}, language={}, filters={}, tokens={}, paragraphs={"cpu_s": 0.25}),
    }
    table = stages_table(measured)
    assert table["language id"].ratio == {"datatrove": 10, "dolma": 1}
    assert (table["language id"].ours, table["language id"].floor) == (2, 4)
    assert list(table["exact dedup"].peers) == ["datatrove"]
    assert table["both dedups (dolma: paragraphs by Bloom filter)"].ratio == {"dolma": 0.125}


def test_peers_are_not_charged_for_their_start_up_and_we_are(tmp_path):
    sizes = {"start": 0, "once": 10, "many files": 10, "four": 40, "sixteen": 160}
    seconds = {"start": 5.0, "once": 10.0, "many files": 10.0, "four": 25.0, "sixteen": 85.0}
    for peer in ("datatrove", "dolma"):
        sizes |= {f"{peer} start": 0, f"{peer} once": 1}
        seconds |= {f"{peer} start": 30.0, f"{peer} once": 40.0}
    corpora = {name: Corpus(tmp_path, 1, size * 1_000_000) for name, size in sizes.items()}
    table = curated_table(corpora, {name: Cost(cpu_s, 1, 1 << 20, 1, 1) for name, cpu_s in seconds.items()})
    assert table["end to end, 1x"].ratio["dolma"] == pytest.approx(10)
    assert table["end to end, 4x"].ratio["dolma"] == pytest.approx(16)
    assert table["end to end, without start-up"].ratio["dolma"] == pytest.approx(20)
    assert table["start-up"].ratio["dolma"] == 6
    times = (table[f"four times the documents, {name}"].ours for name in ("1x to 4x", "4x to 16x"))
    assert tuple(times) == (2.5, 3.4)


def test_the_section_of_a_document_is_replaced_and_nothing_else(tmp_path):
    document = tmp_path / "page.md"
    document.write_text("# Title\n<!-- bench-x -->\nold\n<!-- /bench-x -->\nrest\n")
    table = markdown({"stage": Stage.of(20.0, {"a": 0.5, "b": 4.0}, "MB", floor=40.0, target={"a": 10})})
    write_section(document, "x", table)
    assert document.read_text() == (
        "# Title\n<!-- bench-x -->\n"
        "|  | sluice | a | b | × a | × b | of the floor | unit |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n"
        "| stage | 20 | 0.5 | 4 | 40 (≥ 10) | 5 | 50% | MB |\n"
        "<!-- /bench-x -->\nrest\n"
    )
    with pytest.raises(SystemExit, match="no section"):
        write_section(document, "y", table)


def test_the_corpus_has_every_kind_and_its_duplicates_are_duplicates():
    rows = [document(17, k) for k in range(400)]
    assert {row["kind"] for row in rows} == set(SHARES)
    seen = set()
    for row in rows:
        if row["kind"] == "exact_duplicate" and seen:
            assert row["text"] in seen
        elif row["kind"] in ("english", "foreign", "near_duplicate"):
            assert row["text"] not in seen
        seen.add(row["text"])


def texts(folder):
    lines = b"".join(gzip.decompress(path.read_bytes()) for path in sorted(folder.iterdir())).splitlines()
    return [json.loads(line)["text"] for line in lines]


def shingles(text):
    words = text.split()
    return {tuple(words[k : k + 5]) for k in range(len(words) - 4)}


def test_accuracy_by_language_goes_by_any_name_of_a_label():
    rows = [{"lang_label": lang} for lang in ["en"] * 20 + ["nb"] * 3 + ["xx"]]
    found = [("en", 0.9)] * 15 + [("de", 0.5)] * 4 + [None] + [("no", 0.9)] * 3 + [("en", 0.9)]
    result = accuracy(rows, found, ("en", "de", "no"))
    assert (result["rows"], result["languages"], result["right"]) == (23, 2, 18 / 23)
    assert result["by_language"] == {"en": 0.75}
    assert result["confused"] == ["en taken for de: 4", "en taken for none: 1"]


def test_both_ways_of_language_identification_answer_alike():
    texts = ["The ferry left early because the captain expected fog.", "", "Niemand wusste, warum er hielt."]
    (theirs, their_s), (mine, our_s) = best_of(1, library, ours, texts=texts)
    assert mine == theirs and [label for label, _ in mine] == ["en", mine[1][0], "de"]
    assert min(their_s, our_s) >= 0


def test_the_models_documents_fill_the_budget_and_are_reproducible():
    from benchmarks.model_documents import LONGEST, drawn
    from benchmarks.model_pair import our_batch, packed, padded

    documents = drawn(5000, 300, 1)
    lengths = [len(d) for d in documents]
    assert sum(lengths) == 5000 and min(lengths) >= 2 and max(lengths) <= LONGEST and len(set(lengths)) > 3
    assert all(bool((a == b).all()) for a, b in zip(documents, drawn(5000, 300, 1), strict=True))
    # every layout asks for the same predictions: each document's tokens but its first
    expected = sorted(token for d in documents for token in d[1:].tolist())
    batch, rows, row = our_batch(documents), padded(documents), packed(documents)
    assert sorted(batch.targets[batch.targets != -100].tolist()) == expected
    for inputs in (rows, row):
        shifted = inputs["labels"][:, 1:]
        assert sorted(shifted[shifted != -100].tolist()) == expected
