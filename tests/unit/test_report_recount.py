"""The recount against counting by hand, and every kind of inconsistency planted and caught."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.report import write_report
from pipeline.report.once import Once, line_hash
from pipeline.report.recount import recount
from schemas.errors import SchemaError
from schemas.ledger import ledger_schema
from tests.unit.report_fixture import SCORES, SEQUENCE, build, make_lines, write_manifest, write_shard


def _ledger(folder: Path) -> list[Path]:
    return sorted((folder / "ledger").glob("*.parquet"))


def _shards(folder: Path) -> list[Path]:
    return sorted((folder / "shards").glob("*.arrow"))


def _write(path: Path, lines: list[dict]) -> Path:
    pq.write_table(pa.Table.from_pylist(lines, ledger_schema(SCORES)), path)
    return path


def _kept(name: str, tokens: int, **more: object) -> dict:
    blank = dict.fromkeys(field.name for field in ledger_schema(SCORES))
    row = {"id": name, "source": f"web/a.jsonl#{name}", "modality": "text", "verdict": "kept", "tokens.count": tokens}
    return blank | row | {"num_chars": 4 * tokens, "num_media_bytes": 0, "excerpt": "x"} | more


def test_counts_equal_counting_by_hand(tmp_path: Path) -> None:
    lines = build(tmp_path, rows=900)
    counts = recount(_ledger(tmp_path), _shards(tmp_path))
    rows = [line for line in lines if line["part"] is None]
    kept = [row for row in rows if row["verdict"] == "kept"]
    parts = [line for line in lines if line["part"] is not None]

    def by(name: str) -> dict[str, dict[str, int]]:
        def key(row: dict) -> str:
            return row["source"].split("/")[0] if name == "source" else row[name] or "unknown"

        tokens: Counter[str] = Counter()
        for row in kept:
            tokens[key(row)] += row["tokens.count"]
        return {k: {"rows": n, "tokens": tokens[k]} for k, n in Counter(map(key, kept)).items()}

    def reasons(found: list[dict]) -> dict[str, dict[str, int]]:
        nested: dict[str, dict[str, int]] = {}
        for (step, reason), count in Counter((row["step"], row["reason"]) for row in found).items():
            nested.setdefault(step, {})[reason] = count
        return nested

    tables = [pa.ipc.open_file(str(path)).read_all() for path in _shards(tmp_path)]
    lengths = [n for table in tables for row in table.column("document_lengths").to_pylist() for n in row]
    sequences = sum(table.num_rows for table in tables)
    assert counts.model_dump() == {
        "rows_in": 900,
        "rows_kept": len(kept),
        "rows_rejected": 900 - len(kept),
        "parts_rejected_total": len(parts),
        "documents": len(lengths),
        "tokens": sum(row["tokens.count"] for row in kept),
        "sequences": sequences,
        "padding_ratio": (sequences * SEQUENCE - sum(lengths)) / (sequences * SEQUENCE),
        "rejected": reasons([row for row in rows if row["verdict"] == "rejected"]),
        "parts_rejected": reasons(parts),
        "by_language": by("text.lang"),
        "by_modality": by("modality"),
        "by_source": by("source"),
    }
    assert len(parts) > 5 and len(kept) > 300  # the fixture holds what is counted


def test_file_order_and_split_change_nothing(tmp_path: Path) -> None:
    lines = build(tmp_path, rows=300)
    thirds = [_write(tmp_path / f"third{k}.parquet", lines[k::3]) for k in range(3)]
    assert recount(thirds[::-1], _shards(tmp_path)[::-1]) == recount(_ledger(tmp_path), _shards(tmp_path))


def test_without_language_and_token_columns(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(make_lines(50), ledger_schema(SCORES)).drop_columns(["text.lang", "tokens.count"])
    pq.write_table(table, tmp_path / "ledger.parquet")
    counts = recount([tmp_path / "ledger.parquet"], [])
    assert list(counts.by_language) == ["unknown"]
    assert counts.by_language["unknown"] == {"rows": counts.rows_kept, "tokens": 0}


def test_nothing_at_all() -> None:
    counts = recount([], [])
    assert (counts.rows_in, counts.tokens, counts.padding_ratio, counts.by_source) == (0, 0, 0.0, {})


def test_a_row_counted_twice_is_caught(tmp_path: Path) -> None:
    build(tmp_path, rows=40)
    ledger = _ledger(tmp_path)
    row = pq.read_table(ledger[1]).slice(3, 1)
    pq.write_table(row, tmp_path / "stray.parquet")
    with pytest.raises(SchemaError, match=f"row '{row['source'][0]}' .*twice"):
        recount([*ledger, tmp_path / "stray.parquet"], _shards(tmp_path))


def test_a_part_removed_twice_is_caught(tmp_path: Path) -> None:
    part = _kept("a", 0, part=2, verdict="rejected", step="3:image.size", reason="too_small")
    _write(tmp_path / "l.parquet", [_kept("a", 0), part, part])
    with pytest.raises(SchemaError, match=r"part 2 of row 'web/a\.jsonl#a'"):
        recount([tmp_path / "l.parquet"], [])


def test_rows_made_from_one_row_may_share_its_source(tmp_path: Path) -> None:
    children = [_kept(f"page#{k}", 0, source="web/a.jsonl#7") for k in range(3)]
    assert recount([_write(tmp_path / "l.parquet", children)], []).rows_in == 3


@pytest.mark.parametrize(
    "broken",
    [
        {"verdict": "rejected", "step": None, "reason": None},
        {"verdict": "rejected", "step": "3:x", "reason": None},
        {"verdict": "kept", "step": None, "reason": "too_short"},
        {"verdict": "maybe", "step": None, "reason": None},
        {"verdict": "kept", "part": 1},
    ],
)
def test_a_line_without_a_proper_verdict_is_caught(tmp_path: Path, broken: dict) -> None:
    _write(tmp_path / "l.parquet", [_kept("a", 0), _kept("b", 0) | broken])
    with pytest.raises(SchemaError, match="has the verdict"):
        recount([tmp_path / "l.parquet"], [])


def test_token_sums_that_disagree_are_caught(tmp_path: Path) -> None:
    ledger = _write(tmp_path / "l.parquet", [_kept("a", 10), _kept("b", 20)])
    assert recount([ledger], [write_shard(tmp_path / "s.arrow", [[("a", 10), ("b", 20)]])]).tokens == 30
    with pytest.raises(SchemaError, match="the shards hold 29 tokens, but the ledger's kept rows have 30"):
        recount([ledger], [write_shard(tmp_path / "s.arrow", [[("a", 10), ("b", 19)]])])


def test_rows_swapped_under_an_equal_sum_are_caught(tmp_path: Path) -> None:
    ledger = _write(tmp_path / "l.parquet", [_kept("a", 10), _kept("b", 20)])
    with pytest.raises(SchemaError, match="not the same tokens a row"):
        recount([ledger], [write_shard(tmp_path / "s.arrow", [[("a", 20), ("b", 10)]])])


def test_shards_may_name_rows_by_source(tmp_path: Path) -> None:
    ledger = _write(tmp_path / "l.parquet", [_kept("a", 10), _kept("b", 300)])
    pieces = [[("web/a.jsonl#b", 256)], [("web/a.jsonl#b", 44), ("web/a.jsonl#a", 10)]]
    assert recount([ledger], [write_shard(tmp_path / "s.arrow", pieces)]).documents == 3


def test_a_shard_that_contradicts_itself_is_caught(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="says its documents hold 257"):
        recount([], [write_shard(tmp_path / "s.arrow", [[("a", 200), ("b", 57)]])])


def test_torn_and_foreign_files_are_named(tmp_path: Path) -> None:
    build(tmp_path, rows=40)
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(_ledger(tmp_path)[0].read_bytes()[:-9])
    with pytest.raises(SchemaError, match=r"torn\.parquet is not a readable ledger file"):
        recount([torn], [])
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(SchemaError, match="is not a ledger file: it has no column 'source'"):
        recount([tmp_path / "other.parquet"], [])
    with pytest.raises(SchemaError, match=r"absent\.arrow is not a readable token shard"):
        recount([], [tmp_path / "absent.arrow"])


def test_the_report_refuses_a_manifest_that_says_otherwise(tmp_path: Path) -> None:
    build(tmp_path, rows=60)
    path = tmp_path / "manifest.json"
    sound = json.loads(path.read_text())
    for change, message in (
        (lambda m: m["counts"].update(rows_kept=m["counts"]["rows_kept"] + 1), "counts are not what its files hold"),
        (lambda m: m["shards"][0].update(tokens=1), "but the manifest says"),
        (lambda m: m["ledger"][1].update(rows=1), "lines, but the manifest says"),
    ):
        manifest = json.loads(json.dumps(sound))
        change(manifest)
        path.write_text(json.dumps(manifest))
        with pytest.raises(SchemaError, match=message):
            write_report(tmp_path)
        assert not (tmp_path / "report.html").exists()


def test_the_report_refuses_shards_of_another_run(tmp_path: Path) -> None:
    build(tmp_path / "a", rows=60)
    build(tmp_path / "b", rows=60, seed=6)
    with pytest.raises(SchemaError, match="do not belong together"):
        write_manifest(tmp_path / "a", _ledger(tmp_path / "a"), [(p, 0, 0) for p in _shards(tmp_path / "b")])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.integers(1, 20))
def test_once_finds_exactly_the_repeats_however_much_it_holds(hashes: list[int], held: int) -> None:
    doubled = hashes + hashes[::3]
    with Once(held) as once:
        for start in range(0, len(doubled), 7):
            once.add(doubled[start : start + 7])
        assert once.repeated() == {value for value, count in Counter(doubled).items() if count > 1}


def test_lines_with_equal_hashes_are_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("pipeline.report.recount")
    monkeypatch.setattr(module, "line_hash", lambda *identity: line_hash(*identity) & 1)
    rows = [_kept(f"row{k}", 0) for k in range(8)]
    assert recount([_write(tmp_path / "l.parquet", rows)], []).rows_in == 8
