"""report.json and report.html: what they say, that the same dataset gives the same bytes, and that text stays text."""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.report import write_report
from pipeline.report.close_calls import CLOSE_MARGIN, CloseCalls
from schemas.errors import SchemaError, SluiceError
from schemas.ledger import ledger_schema
from tests.unit.report_fixture import HOSTILE, RECIPE, SCORES, build, make_lines


class _Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self._style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._style = tag == "style"
        if tag not in ("meta", "wbr", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _page(folder: Path) -> _Page:
    return _Page((folder / "report.html").read_text(encoding="utf-8"))


def test_json_file_is_the_returned_report_and_strict_json(tmp_path: Path) -> None:
    build(tmp_path)
    found = write_report(tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse) == found
    assert found["counts"] == json.loads((tmp_path / "manifest.json").read_text())["counts"]


def test_same_dataset_same_bytes(tmp_path: Path) -> None:
    lines = build(tmp_path / "a", rows=500)
    build(tmp_path / "b", rows=500)
    write_report(tmp_path / "a")
    write_report(tmp_path / "b")
    for name in ("report.html", "report.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    # Other ledger files in another order: other sizes and digests in the manifest, the same story.
    shuffled = build(tmp_path / "c", lines=[*lines[250:], *lines[:250]])
    assert len(shuffled) == len(lines)
    first, other = write_report(tmp_path / "a"), write_report(tmp_path / "c")
    for name in ("rejections", "kept_examples", "duplicates", "distributions", "funnel", "languages", "sources"):
        assert first[name] == other[name]


def test_funnel_follows_the_recipe_and_loses_no_row(tmp_path: Path) -> None:
    lines = build(tmp_path)
    found = write_report(tmp_path)
    steps = [step["step"] for step in found["funnel"]]
    uses = [f"{number}:{step['use']}" for number, step in enumerate(RECIPE["steps"], start=1)]
    assert steps == ["input:jsonl", *(["input:webdataset"] if "input:webdataset" in steps else []), *uses]
    reaching = found["counts"]["rows_in"]
    for step in found["funnel"]:
        assert step["rows_in"] == reaching
        reaching = step["rows_out"]
        expected = [line for line in lines if line["part"] is None and line["step"] == step["step"]]
        assert step["rejected"] == sum(step["reasons"].values()) == len(expected)
    assert reaching == found["counts"]["rows_kept"]


def test_examples_belong_to_their_reason(tmp_path: Path) -> None:
    lines = build(tmp_path)
    found = write_report(tmp_path)
    known = {(line["source"], line["part"]): line for line in lines}
    for entry in found["rejections"]:
        of_reason = [
            line
            for line in lines
            if (line["step"], line["reason"], line["part"] is not None)
            == (entry["step"], entry["reason"], entry["kind"] == "part")
        ]
        assert entry["count"] == len(of_reason)
        assert len(entry["examples"]) == min(3, len(of_reason))
        for example in entry["examples"]:
            assert known[example["source"], example["part"]] in of_reason
    for pair in found["duplicates"]:
        assert pair["match"]["id"] == pair["match_id"] == known[pair["removed"]["source"], None]["match_id"]


def test_alarm_for_a_source_that_dedup_empties_and_one_that_dies(tmp_path: Path) -> None:
    build(tmp_path, rows=2500)
    alarms = {(alarm["kind"], alarm["source"]) for alarm in write_report(tmp_path)["alarms"]}
    assert alarms == {("dedup", "mirror"), ("total", "spam_dump")}
    assert "Source mirror lost" in " ".join(_page(tmp_path).text.split())


def test_no_alarm_at_half_or_nine_tenths_exactly(tmp_path: Path) -> None:
    rows = [line for line in make_lines(400) if line["verdict"] == "kept" and line["part"] is None][:20]
    for number, row in enumerate(rows):
        row["source"] = f"{'half' if number < 10 else 'tenth'}/a#{number}"
        row["id"] = row["source"]
        if number < 5:
            row.update(verdict="rejected", step="6:text.minhash_dedup", reason="duplicate", match_id=rows[-1]["id"])
        elif 10 <= number < 19:
            row.update(verdict="rejected", step="4:text.gopher_quality", reason="too_few_words")
    rows[-1]["id"] = rows[-1]["source"]
    build(tmp_path, lines=rows)
    assert write_report(tmp_path)["alarms"] == []


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    lines = make_lines(300)
    for number, line in enumerate(lines):
        if line["part"] is None:
            line["excerpt"] = HOSTILE[number % len(HOSTILE)]
            line["detail"] = HOSTILE[(number + 1) % len(HOSTILE)] if line["reason"] else None
            line["text.lang"] = line["text.lang"] and "<b onclick=alert(1)>&\u202e"
    build(tmp_path, lines=lines)
    write_report(tmp_path)
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = _page(tmp_path)
    assert page.open == []
    assert set(page.tags).isdisjoint({"script", "img", "iframe", "link", "object", "embed", "form", "base", "b"})
    assert page.tags.count("style") == 1
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert {value[0] for name, value in page.attributes if name in ("href", "src", "action", "xlink:href")} == {"#"}
    assert HOSTILE[0] in page.text
    assert "{{ 7 * 7 }} {% raw %}" in page.text
    assert "<b onclick=alert(1)>&U+202E" in page.text
    for character in "\x00\x07\x1b\x9b\u202e\u2066\u2069\u200f\u2028\ufffc":
        assert character not in raw
    assert "U+202E" in page.text
    assert "media" in page.text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    lines = make_lines(40)
    for number, line in enumerate(lines):
        line.update(source=f"<script>{HOSTILE[0]}/a#{number}", id=f"<svg onload=x>{number}")
    build(tmp_path, lines=lines)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest.update(name=HOSTILE[0], git_commit=HOSTILE[4], recipe_hash=HOSTILE[0])
    manifest["recipe"]["description"] = HOSTILE[1]
    manifest["recipe"]["steps"][0]["with"] = {HOSTILE[0]: HOSTILE[2]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    stage = {"name": HOSTILE[0], "seconds": 1.0, "units": HOSTILE[0]}
    (tmp_path / "run.json").write_text(
        json.dumps({HOSTILE[4]: HOSTILE[0], "stages": [stage], "machine": {"<b>": "<i>"}})
    )
    write_report(tmp_path)
    page = _page(tmp_path)
    assert page.open == []
    assert set(page.tags).isdisjoint({"script", "img", "b", "i"})
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(HOSTILE[0]) > 4


def test_the_page_needs_no_network_and_allows_no_script(tmp_path: Path) -> None:
    build(tmp_path)
    write_report(tmp_path)
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in raw
    for way_out in ("http:", "https:", "@import", "url(", "//"):
        assert way_out not in raw


def test_tables_have_headings_and_charts_have_titles(tmp_path: Path) -> None:
    build(tmp_path)
    write_report(tmp_path)
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert raw.count("<table") == raw.count("<thead>")
    assert raw.count("<svg") == sum(raw.count(f'role="img"><title>{c}') for c in map(chr, range(32, 127)))
    assert raw.count('dir="auto"') > 12


def test_close_calls_are_counted_by_pair(tmp_path: Path) -> None:
    lines = build(tmp_path)
    found = write_report(tmp_path)["close_calls"]
    rows = [line for line in lines if line["part"] is None and line["text.lang_2"] is not None]
    close = [row for row in rows if row["text.lang_score"] - row["text.lang_2_score"] < CLOSE_MARGIN]
    counted = Counter((row["text.lang"], row["text.lang_2"]) for row in close)
    kept = Counter((row["text.lang"], row["text.lang_2"]) for row in close if row["verdict"] == "kept")
    assert 0 < kept.total() < counted.total() < len(rows)
    assert {(pair["language"], pair["runner_up"]): pair["rows"] for pair in found} == counted
    assert {(pair["language"], pair["runner_up"]): pair["kept"] for pair in found if pair["kept"]} == kept
    assert [pair["rows"] for pair in found] == sorted((pair["rows"] for pair in found), reverse=True)
    assert "Close calls" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_no_close_calls_without_a_runner_up(tmp_path: Path) -> None:
    lines = make_lines(100)
    for line in lines:
        line["text.lang_2"] = line["text.lang_2_score"] = None
    build(tmp_path, lines=lines)
    assert write_report(tmp_path)["close_calls"] == []
    assert "Close calls" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    calls = CloseCalls()
    table = pa.Table.from_pylist(make_lines(100), ledger_schema(SCORES)).drop_columns(["text.lang_2"])
    calls.add(table.combine_chunks().to_batches()[0])
    assert calls.table() == []


@pytest.mark.parametrize("lines", [[], "rejected", "no_language"])
def test_works_with_nothing_to_show(tmp_path: Path, lines: object) -> None:
    rows: list = []
    if lines == "rejected":
        rows = [line for line in make_lines(200) if line["verdict"] == "rejected"]
    elif lines == "no_language":
        rows = make_lines(50)
        for row in rows:
            row["text.lang"] = None
    build(tmp_path, lines=rows, with_run=False)
    found = write_report(tmp_path)
    text = " ".join(_page(tmp_path).text.split())
    if lines == []:
        assert found["counts"]["rows_in"] == 0
        assert "The inputs held no rows" in text
    elif lines == "rejected":
        assert found["counts"]["rows_kept"] == 0
        assert "No row was kept." in text
        assert "No token shards were written" in text
    else:
        assert [group["name"] for group in found["languages"]] == ["unknown"]
    assert found["run"] is None


def test_refuses_what_is_not_a_finished_dataset(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"has no manifest\.json"):
        write_report(tmp_path)
    build(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(SchemaError, match=r"run\.json cannot be read as JSON"):
        write_report(tmp_path)


def test_a_run_that_says_little_or_nonsense_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    build(tmp_path, rows=20)
    for run in (
        {},
        {"stages": "x", "seconds": "long"},
        {"stages": [{"name": "a"}, 3, {"seconds": 2}], "seconds": None},
    ):
        (tmp_path / "run.json").write_text(json.dumps(run))
        stages = write_report(tmp_path)["run"]["stages"]
        assert stages == ([{"name": "", "units": None, "seconds": 2}] if isinstance(run.get("stages"), list) else [])
    (tmp_path / "run.json").write_text('{"seconds": NaN, "peak_rss_bytes": Infinity}')
    assert write_report(tmp_path)["run"] == {"seconds": None, "peak_rss_bytes": None, "stages": []}


def test_says_when_it_cannot_write(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(SluiceError, match="cannot write the report"):
        write_report(tmp_path)


def test_benchmarks_are_counted_by_rows_and_items(tmp_path: Path) -> None:
    lines = [row for row in make_lines(60) if row["part"] is None]
    judged = [row for row in lines if row["text.lang"]]
    leaks = [("gsm8k", "7"), ("gsm8k", "7"), ("gsm8k", "9"), ("mmlu <b>", "1")]
    for row in judged:
        row["decontamination.num_ngrams"] = 0
    for row, (benchmark, item) in zip(judged, leaks, strict=False):
        row |= {"decontamination.benchmark": benchmark, "decontamination.item": item, "decontamination.num_ngrams": 3}
    judged[4] |= {
        "verdict": "rejected",
        "step": "7:text.decontaminate",
        "reason": "contaminated",
        "match_id": "gsm8k:7",
    }
    judged[4]["tokens.count"] = None
    build(tmp_path, lines=lines)
    kept = [row["verdict"] == "kept" for row in judged[:4]]
    common = {"rows_judged": len(judged)}
    assert write_report(tmp_path)["contamination"] == [
        {"benchmark": "gsm8k", "rows": 3, "share": 3 / len(judged), "rows_kept": sum(kept[:3]), "items_found": 2}
        | common,
        {"benchmark": "mmlu <b>", "rows": 1, "share": 1 / len(judged), "rows_kept": kept[3], "items_found": 1} | common,
    ]
    page = _page(tmp_path)
    assert "Benchmarks found in the data" in page.text and "mmlu <b>" in page.text
    # an item is no row that another one duplicates
    pairs = json.loads((tmp_path / "report.json").read_text())["duplicates"]
    assert not [pair for pair in pairs if pair["reason"] == "contaminated"]


def test_a_run_that_looked_for_no_benchmark_says_nothing_of_them(tmp_path: Path) -> None:
    build(tmp_path)
    assert write_report(tmp_path)["contamination"] == []
    assert "Benchmarks found" not in _page(tmp_path).text


def test_removals_are_shown_beside_what_clustering_would_remove(tmp_path: Path) -> None:
    build(tmp_path)
    found = write_report(tmp_path)
    assert [(entry["step"], entry["removed"], entry["removed_by_components"]) for entry in found["dedup"]] == [
        ("9:text.exact_dedup", 12, None),
        ("10:text.minhash_dedup", 57, 190),
    ]
    page = (tmp_path / "report.html").read_text()
    assert '<td class="num" data-name="by clustering">190</td>' in page
    assert '<td class="num" data-name="by clustering">–</td>' in page
    assert "14,500 pairs were not compared by them" in page
    run = json.loads((tmp_path / "run.json").read_text())
    for nonsense in ("x", {"a": 3}, {"<i>": {"removed": "many", "candidate_pairs": -1, "verified_pairs": True}}):
        (tmp_path / "run.json").write_text(json.dumps(run | {"dedup": nonsense}))
        assert {value for entry in write_report(tmp_path)["dedup"] for value in list(entry.values())[1:]} <= {None}
        assert "<i>" not in (tmp_path / "report.html").read_text()
