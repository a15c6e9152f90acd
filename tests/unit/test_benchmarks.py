"""The benchmark harness: what it measures and what it generates must be right before a ratio means anything."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.generate import SHARES, document, write_corpus
from benchmarks.harness import Cost, Stage, typical
from benchmarks.language import accuracy, best_of, library, ours

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
    assert measured(tmp_path, program)["peak_rss_bytes"] > 2 * (64 << 20)


def test_ratios_above_one_are_in_our_favour():
    assert Stage.of(200.0, {"peer": 50.0}, "documents a second").ratio == {"peer": 4.0}
    assert Stage.of(200.0, {"peer": 50.0}, "MiB", less_is_better=True).ratio == {"peer": 0.25}


def test_the_typical_cost_is_the_median_of_each_figure():
    assert typical([Cost(1.0, 9.0, 5), Cost(3.0, 7.0, 6), Cost(2.0, 8.0, 7)]) == Cost(2.0, 8.0, 6)


def test_a_document_depends_on_seed_and_number_alone(tmp_path):
    small, large = write_corpus(tmp_path / "a", 12, files=3), write_corpus(tmp_path / "b", 30, files=2)
    assert texts(large.folder)[:12] == texts(small.folder)
    assert small.text_bytes == sum(len(text.encode()) for text in texts(small.folder))
    assert document(1, 5) != document(2, 5)


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
