"""Thresholds proposed from two corpora: planted truths, brute force, the bootstrap, and independence of batches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from jobs import propose_thresholds as command
from pipeline.engine import Step, run_steps
from pipeline.reading import local_steps, open_files, read_all
from pipeline.thresholds import chosen_steps, find_proposals, measure, metric_names, snippet, together
from schemas.errors import SluiceError
from schemas.recipe import StepSpec
from transforms.registry import build
from transforms.select.proposal import MAX_BINS, Proposal, propose, resamples

_APP = typer.Typer()
_APP.command()(command.propose_thresholds)
_NONE = np.empty((0, 0), np.uint8), np.empty((0, 0), np.uint8)


def point(good: list[float], bad: list[float], max_good_loss: float | None = None) -> Proposal | None:
    """A proposal without its bootstrap."""
    return propose("m", np.array(good, float), np.array(bad, float), _NONE, max_good_loss)


def test_a_planted_threshold_is_found() -> None:
    found = point([50, 60, 70, 80], [10, 20, 30, 55])
    assert found is not None
    assert (found.bound, found.good_removed, found.bad_removed) == ("min", 0.0, 0.75)
    assert 30 < found.threshold <= 50 and found.threshold == 50
    found = point([0.1, 0.2, 0.3, 0.3], [0.25, 0.5, 0.9])
    assert found is not None
    assert (found.bound, found.threshold, found.good_removed, found.bad_removed) == ("max", 0.3, 0, 2 / 3)


def test_a_threshold_is_the_shortest_number_that_cuts_there() -> None:
    found = point([0.5, 0.6], [0.123456, 0.2345678])
    assert found is not None and found.threshold == 0.5
    found = point([0.1234978, 0.6], [0.1, 0.123456])
    assert found is not None and found.threshold == 0.12348
    found = point([np.nextafter(1, 2), 2], [0, 1])
    assert found is not None and found.threshold == np.nextafter(1, 2)


def test_documents_without_a_value_stay() -> None:
    found = point([1, 2, np.nan, np.nan], [5, 6, 7, np.nan])
    assert found is not None
    assert (found.bound, found.bad_removed, found.good_missing, found.bad_missing) == ("max", 0.75, 0.5, 0.25)


@pytest.mark.parametrize(
    ("good", "bad"), [([1, 1], [1, 1]), ([np.nan], [np.nan]), ([1, 2], [1, 2]), ([1, np.inf], [1])]
)
def test_no_cut_without_a_difference(good: list[float], bad: list[float]) -> None:
    assert point(good, bad) is None


values = st.lists(st.sampled_from([0.0, 0.1, 0.25, 1.0, 2.0, 3.5, float("nan")]), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(values, values, st.sampled_from([None, 0.0, 0.1, 0.3]))
@example([0.1] * 2 + [0.25] * 5, [0.0, 0.1] + [0.25] * 5, 0.3)  # the cut that removes most within the limit is no help
def test_no_other_cut_is_better(good: list[float], bad: list[float], limit: float | None) -> None:
    g, b = np.array(good), np.array(bad)
    best = 0.0
    pooled = np.concatenate([g, b])
    for threshold in (0.05, 0.2, 0.5, 1.5, 3):
        if not (pooled < threshold).any() or not (pooled > threshold).any():
            continue  # a cut parts values from values
        for lost, gone in (
            ((g < threshold).mean(), (b < threshold).mean()),
            ((g > threshold).mean(), (b > threshold).mean()),
        ):
            if gone > lost and lost <= (1 if limit is None else limit):
                best = max(best, gone - lost)
    found = point(good, bad, limit)
    if found is None:
        assert best == 0
        return
    assert (found.removes(g).mean(), found.removes(b).mean()) == (found.good_removed, found.bad_removed)
    if limit is None:
        assert found.bad_removed - found.good_removed == pytest.approx(best)
    else:
        assert found.good_removed <= limit


def test_the_distance_is_wassersteins() -> None:
    rng = np.random.default_rng(3)
    good, bad = rng.normal(0, 1, 400), rng.normal(0.7, 1.5, 400)
    pooled = np.sort(np.concatenate([good, bad]))
    low, high = pooled[round(0.01 * 799)], pooled[round(0.99 * 799)]
    scaled = [np.sort((np.clip(v, low, high) - low) / (high - low)) for v in (good, bad)]
    found = propose("m", good, bad, _NONE)
    assert found is not None
    assert found.distance == pytest.approx(np.abs(scaled[0] - scaled[1]).mean(), abs=1e-9)


def test_many_values_share_bins() -> None:
    rng = np.random.default_rng(4)
    good, bad = rng.uniform(0.4, 1, 5000), rng.uniform(0, 0.6, 5000)
    assert len(np.unique(np.concatenate([good, bad]))) > 2 * MAX_BINS
    found = propose("m", good, bad, _NONE)
    assert found is not None
    assert found.bad_removed - found.good_removed == pytest.approx(2 / 3, abs=0.03)
    assert found.removes(good).mean() == found.good_removed and found.removes(bad).mean() == found.bad_removed


def test_the_bootstrap_draws_each_document_once_on_average() -> None:
    keys = np.random.default_rng(5).integers(0, 2**63, 2000).astype(np.uint64)
    drawn = resamples(keys, 200, 17)
    assert drawn.mean() == pytest.approx(1, abs=0.01) and drawn.var() == pytest.approx(1, abs=0.02)
    # of two resamples, and of two documents, one says nothing about the other
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 0.08 and abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.25
    assert (resamples(keys[::-1], 200, 17)[:, ::-1] == drawn).all()
    assert (resamples(keys, 200, 18) != drawn).any()


def test_intervals_cover_the_truth() -> None:
    """Of 200 pairs of corpora, the 95 % interval of a share misses its true value in some 10; 2 to 20 are let pass."""
    rng = np.random.default_rng(6)
    missed = 0
    for _ in range(200):
        good, bad = (rng.random(150) < 0.2).astype(float), (rng.random(150) < 0.7).astype(float)
        weights = tuple(resamples(rng.integers(0, 2**63, 150).astype(np.uint64), 120, 1) for _ in range(2))
        found = propose("m", good, bad, weights)  # type: ignore[arg-type]
        assert found is not None and found.bound == "max"
        low, high = found.intervals["good_removed"]
        missed += not low <= 0.2 <= high
        assert found.intervals["bad_removed"][0] <= found.bad_removed <= found.intervals["bad_removed"][1]
    assert 2 <= missed <= 20


def corpus(path: Path, sentences: list[str], line_end: str) -> Path:
    """Documents of three sentences, parted by `line_end`."""
    with path.open("w") as file:
        for at in range(60):
            text = line_end.join(sentences[(at + k) % len(sentences)] for k in range(3))
            file.write(json.dumps({"id": f"{path.stem}{at}", "text": text}) + "\n")
    return path


@pytest.fixture
def corpora(tmp_path: Path) -> tuple[Path, Path]:
    sentences = [
        f"The {noun} stood by the river for many years and was then sold." for noun in ("mill", "house", "boat", "inn")
    ]
    return corpus(tmp_path / "good.jsonl", sentences, " "), corpus(tmp_path / "bad.jsonl", sentences, "\n\n")


def measured(path: Path, metrics: list[str], batch_rows: int, max_rows: int = 1000):
    return measure(read_all([open_files([str(path)])], batch_rows), [], metrics, max_rows, 17)


def test_batches_and_order_change_nothing(corpora: tuple[Path, Path], tmp_path: Path) -> None:
    metrics = metric_names([])
    assert len(metrics) > 50
    results = [
        find_proposals(*(measured(path, metrics, size) for path in corpora), metrics, num_resamples=40)
        for size in (1, 7, 1000)
    ]
    assert results[0] == results[1] == results[2]
    best = results[0][0]
    assert best.metric.startswith(("signal.fineweb.", "signal.gopher.")) and (best.good_removed, best.bad_removed) == (
        0,
        1,
    )
    newlines = next(p for p in results[0] if p.metric == "signal.fineweb.newline_ratio.datatrove")
    assert newlines.bound == "max" and 0 <= newlines.threshold < 4 / 42


def test_a_sample_is_the_same_however_it_is_read(corpora: tuple[Path, Path]) -> None:
    metrics = metric_names([])
    samples = [measured(corpora[0], metrics, size, max_rows=20) for size in (1, 7, 1000)]
    assert all(len(sample.keys) == 20 and sample.rows_read == 60 for sample in samples)
    assert all((sample.keys == samples[0].keys).all() for sample in samples)
    assert all(np.array_equal(sample.values, samples[0].values, equal_nan=True) for sample in samples)
    whole = measured(corpora[0], metrics, 1000)
    assert (whole.keys[:20] == samples[0].keys).all()


def test_the_snippet_is_a_recipes_steps(corpora: tuple[Path, Path]) -> None:
    metrics = metric_names([])
    good, bad = (measured(path, metrics, 1000) for path in corpora)
    chosen = chosen_steps(find_proposals(good, bad, metrics, num_resamples=40), 3)
    assert len({p.metric.rpartition(".")[0] for p in chosen}) == 3
    specs = [StepSpec.model_validate(step) for step in yaml.safe_load(snippet(chosen))]
    steps = [Step(str(at), build(spec.use, dict(spec.params))) for at, spec in enumerate(specs)]
    for path, corpus in zip(corpora, (good, bad), strict=True):
        (outcome,) = read_all([open_files([str(path)])])
        kept = run_steps(steps, outcome.kept).kept
        assert 1 - kept.num_rows / 60 == together(chosen, corpus, metrics)


def test_numbers_of_a_recipes_steps_are_metrics(corpora: tuple[Path, Path]) -> None:
    steps = local_steps(
        [
            StepSpec.model_validate({"use": "text.language", "with": {"min_score": 1.0}}),
            StepSpec.model_validate({"use": "text.exact_dedup"}),
        ]
    )
    metrics = metric_names(steps)
    assert "text.lang_score" in metrics and "text.lang" not in metrics
    found = measure(read_all([open_files([str(corpora[0])])]), steps, metrics, 1000, 17)
    assert len(found.keys) == 60 and not np.isnan(found.values[:, metrics.index("text.lang_score")]).any()


def test_the_command(corpora: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ["--good", str(corpora[0]), "--bad", str(corpora[1]), "--resamples", "20"]
    result = CliRunner().invoke(_APP, arguments, catch_exceptions=False)
    assert "60 of 60 good documents, 60 of 60 bad documents" in result.output
    assert (
        "together they remove 0% of the good, 100% of the bad\n- {use: select.range, with: {column: signal."
        in result.output
    )
    found = json.loads(CliRunner().invoke(_APP, [*arguments, "--json"], catch_exceptions=False).output)
    assert found["steps_remove"] == {"good": 0.0, "bad": 1.0}
    assert found["corpora"]["good"] == {"rows": 60, "measured": 60}
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    failed = CliRunner().invoke(_APP, ["--good", str(empty), "--bad", str(corpora[1])])
    assert failed.exit_code == 1 and isinstance(failed.exception, SluiceError)
    assert "the good corpus has no rows" in str(failed.exception)
