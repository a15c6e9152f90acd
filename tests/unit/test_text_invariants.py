"""Steps that edit text: whatever the text, sentinels stay as they were and batch borders change nothing."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sample import SENTINEL, check_sample
from tests.conformance.batches import numbered
from transforms.base import Outcome
from transforms.media import media_part
from transforms.registry import build
from transforms.signals import compute_signals

EDITING = [
    ("text.normalize", {}),
    ("text.normalize", {"max_blank_lines": 0, "unicode_form": "NFKC"}),
    *(
        ("text.c4_quality", {"preset": preset, "min_sentences": None})
        for preset in ("paper", "datatrove", "dclm", "dolma")
    ),
    ("text.line_dedup", {"min_words": 1}),
    ("text.line_dedup", {"unit": "paragraph", "min_words": 1}),
    ("text.line_filter", {}),
    ("text.refinedweb_lines", {"max_removed_word_ratio": None}),
    ("text.refinedweb_lines", {"preset": "dclm"}),
]
PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            " ",
            "\n",
            "\r\n",
            "\n\n\n\n",
            "The river rose in the night.",
            "&#65532;",
            "&amp;",
            "ï¿¼",
            "Ã©",
            "[12]",
            "javascript",
            "Read more...",
            "3 likes",
            "HOME",
        ]
    ),
).map(lambda piece: piece.replace(SENTINEL, ""))
TEXTS = st.lists(st.one_of(PIECES, st.just(SENTINEL)), max_size=12).map("".join)


def rows(texts: list[str]) -> pa.RecordBatch:
    """Rows of these texts, with as many (tiny, broken) images as they have sentinels."""
    return numbered(
        [
            {"text": text, "media": [media_part(at, b"x%d" % at, "image") for at in range(text.count(SENTINEL))]}
            for text in texts
        ]
    )


def run(name: str, params: dict, batch: pa.RecordBatch) -> Outcome:
    step = build(name, params)
    step.setup()
    return step.apply(compute_signals(batch, step.signals()))


@pytest.mark.parametrize(("name", "params"), EDITING)
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_sentinels_survive(name: str, params: dict, texts: list[str]) -> None:
    batch = rows(texts)
    outcome = run(name, params, batch)
    check_sample(outcome.kept, name)
    before = dict(zip(batch["source"].to_pylist(), batch["media"].to_pylist(), strict=True))
    for source, media in zip(outcome.kept["source"].to_pylist(), outcome.kept["media"].to_pylist(), strict=True):
        assert media == before[source]


@pytest.mark.parametrize(("name", "params"), EDITING)
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(TEXTS, min_size=2, max_size=5), cut=st.integers(1, 4))
def test_batch_borders_change_nothing(name: str, params: dict, texts: list[str], cut: int) -> None:
    batch = rows(texts)
    cut = min(cut, batch.num_rows - 1)
    whole = run(name, params, batch)
    parts = [run(name, params, batch.slice(0, cut)), run(name, params, batch.slice(cut))]
    assert whole.kept.to_pylist() == [row for part in parts for row in part.kept.to_pylist()]
    assert whole.rejected.to_pylist() == [row for part in parts for row in part.rejected.to_pylist()]


@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_c4_keeps_the_lines_of_sentinels_whole(text: str) -> None:
    batch = rows([text])
    kept = run("text.c4_quality", {"preset": "paper", "min_sentences": None, "remove_citations": False}, batch).kept
    if kept.num_rows and text.replace(SENTINEL, "").strip():
        wanted = [line.strip() for line in text.splitlines() if SENTINEL in line]
        assert [line for line in kept["text"][0].as_py().split("\n") if SENTINEL in line] == wanted


def test_language_pickles_without_its_model() -> None:
    step = build("text.language", {"keep": ["en"]})
    step.setup()
    cold = pickle.loads(pickle.dumps(step))  # noqa: S301
    assert cold._model is None
    batch = numbered([{"text": "The ferry left early because the captain expected fog."}])
    assert cold.apply(batch).kept.to_pylist() == step.apply(batch).kept.to_pylist()
