"""text.minhash_dedup: published settings, bands from a target, datatrove's signatures, containment, odd texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from datasketch.lsh import _optimal_param
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.recipe import resolve
from schemas.errors import RecipeError
from schemas.sample import sample_batch
from tests.parity.test_kernel_shingles import pieces
from transforms.dedup import datatrove
from transforms.dedup.lsh import candidate_probability, optimal_bands
from transforms.dedup.minhash import TextMinHashDedup, TextMinHashDedupParams
from transforms.registry import build

#: preset -> (bands, rows per band, unit, ngram)
PUBLISHED = {
    "fineweb": (14, 8, "word", 5),
    "refinedweb": (450, 20, "word", 5),
    "nemo": (20, 13, "char", 24),
    "redpajama_v2_0.7": (14, 9, "word", 13),
    "redpajama_v2_0.8": (9, 13, "word", 13),
    "redpajama_v2_0.9": (5, 25, "word", 13),
    "redpajama_v2_1.0": (1, 128, "word", 13),
    "marin": (26, 11, "char", 5),
    "dclm": (93, 15, "word", 5),
    "data_juicer": (25, 10, "word", 5),
    "data_juicer_bench": (32, 8, "word", 5),
}
#: (bands, rows) -> {jaccard: how likely a candidate}; FineWeb prints 56, 77, 92 and 98.8 % for its own
S_CURVES = {
    (14, 8): {0.5: 0.05332, 0.6: 0.211122, 0.7: 0.564504, 0.75: 0.771634, 0.8: 0.923548, 0.85: 0.988366},
    (450, 20): {0.6: 0.016318, 0.7: 0.301771, 0.75: 0.760527, 0.8: 0.994583},
    (20, 13): {0.7: 0.176937, 0.75: 0.381761, 0.8: 0.677254, 0.85: 0.924018, 0.9: 0.997165},
    (14, 9): {0.7: 0.438232, 0.8: 0.86704},
    (9, 13): {0.7: 0.083896, 0.8: 0.398844, 0.9: 0.928604},
    (5, 25): {0.9: 0.31098, 0.95: 0.802975},
    (1, 128): {0.95: 0.001408},
    (26, 11): {0.7: 0.405037, 0.75: 0.674365, 0.8: 0.903207},
    (93, 15): {0.7: 0.35762, 0.75: 0.713833, 0.8: 0.964246},
    (25, 10): {0.7: 0.51147, 0.8: 0.941557},
    (32, 8): {0.5: 0.117719, 0.7: 0.850438, 0.8: 0.997196},
}


def step_of(**params) -> TextMinHashDedup:
    step = build("text.minhash_dedup", params)
    step.setup()
    return step


def batch_of(*texts: str) -> pa.RecordBatch:
    return sample_batch([{"id": str(k), "source": str(k), "text": text} for k, text in enumerate(texts)])


def similarities(step: TextMinHashDedup, *texts: str) -> list[float]:
    """Of the first text and each."""
    batch = batch_of(*texts)
    evidence = step.evidence(batch, np.full(len(texts), -1, np.int32))
    return step.similarity(evidence, np.zeros(len(texts), np.int64), np.arange(len(texts))).tolist()


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_are_the_published_settings(preset: str) -> None:
    params = TextMinHashDedupParams(preset=preset)
    assert (params.bands, params.rows_per_band, params.unit, params.ngram) == PUBLISHED[preset]
    for jaccard, probability in S_CURVES[params.bands, params.rows_per_band].items():
        assert candidate_probability(jaccard, params.bands, params.rows_per_band) == pytest.approx(
            probability, abs=5e-7
        )


def test_every_preset_is_held_to_its_source() -> None:
    assert list(PUBLISHED) == list(TextMinHashDedupParams.model_fields["preset"].annotation.__args__)


@pytest.mark.parametrize(
    ("jaccard", "permutations", "expected"),
    [
        (0.5, 128, (25, 5)),
        (0.7, 128, (14, 9)),
        (0.8, 128, (9, 13)),
        (0.9, 128, (5, 25)),
        (0.7, 256, (25, 10)),
        (0.8, 256, (17, 15)),
        (0.7, 112, (12, 9)),
    ],
)
def test_bands_from_a_target(jaccard: float, permutations: int, expected: tuple[int, int]) -> None:
    params = TextMinHashDedupParams(target={"jaccard": jaccard, "num_permutations": permutations})
    assert (params.bands, params.rows_per_band) == expected


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("jaccard", [0.3, 0.75, 0.95])
@pytest.mark.parametrize("permutations", [2, 17, 64])
def test_bands_are_datasketchs(weight: float, jaccard: float, permutations: int) -> None:
    expected = _optimal_param(jaccard, permutations, weight, 1 - weight)
    assert optimal_bands(jaccard, permutations, weight, 1 - weight) == expected


def test_a_resolved_recipe_names_the_bands_and_resolves_to_itself() -> None:
    def resolved(params: dict) -> dict:
        return (
            resolve(
                {
                    "recipe": 1,
                    "name": "bands",
                    "inputs": [{"use": "jsonl", "with": {"paths": "x.jsonl"}}],
                    "steps": [{"use": "text.minhash_dedup", "with": params}],
                    "tokens": {"tokenizer": "bytes", "sequence_length": 64},
                    "output": {"path": "out"},
                }
            )
            .steps[0]
            .params
        )

    found = resolved({"preset": "nemo", "target": {"jaccard": 0.9}})
    assert (found["bands"], found["rows_per_band"], found["unit"], found["ngram"]) == (5, 25, "char", 24)
    assert resolved(found) == found


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"target": {"jaccard": 0.8}, "bands": 14}, "target computes bands and rows_per_band: bands is 9"),
        ({"target": {"jaccard": 1.5}}, "target.jaccard: Input should be less than 1"),
        ({"target": {"jacard": 0.5}}, "target.jacard: no such parameter"),
        ({"verify": {}}, "verify takes one of jaccard and containment"),
        ({"verify": {"jaccard": 0.8, "containment": 0.9}}, "verify takes one of jaccard and containment"),
        ({"signature": "datatrove", "preset": "nemo"}, "signature: datatrove is of words"),
    ],
)
def test_contradictions_are_told(params: dict, complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        build("text.minhash_dedup", params)


def test_what_decides_does_not_change_what_is_signed() -> None:
    plain = build("text.minhash_dedup", {}).signed_by()
    other = {"keep": "longest", "verify": None, "preset": "data_juicer", "bands": 14, "rows_per_band": 8}
    assert build("text.minhash_dedup", other).signed_by() == plain
    assert build("text.minhash_dedup", {"unit": "char"}).signed_by() != plain


def test_containment_is_of_the_row_that_would_go() -> None:
    inside, whole = "one two three four", "zero one two three four five six seven"
    step = step_of(ngram=1, verify={"containment": 0.9})
    assert similarities(step, whole, inside, "one two three nine") == [1, 1, 0.75]
    assert similarities(step, inside, whole) == [1, 0.5]
    assert (step.measure, step.min_similarity) == ("containment", 0.9)
    step = step_of(ngram=1)
    assert similarities(step, whole, inside) == [1, 0.5]
    assert (step.measure, step.min_similarity) == ("jaccard", 0.8)
    step = step_of(verify=None)
    assert (step.measure, step.min_similarity) == ("jaccard", None)


#: first band and last number of the signature of _FOX, 14 x 8, from datatrove 0.10.1
_FOX = "The quick brown fox jumps over the lazy dog!"
DATATROVE = {
    "sha1_64": (
        585594454516184072, 284080765670708113, 594234408324153881, 226360113463360020,
        42312182183823545, 295150809832830541, 316606424307206655, 439255022718586444,
        800584869340422436,
    ),
    "sha1_32": (
        727492965, 1312834104, 1177392338, 807274274, 1570412064, 121714251, 253777155, 990517828,
        226228629,
    ),
    "xxh64": (
        85330943174081874, 663359892825767826, 302227827184868053, 34440879854629237,
        1270900061947546662, 117899488208280896, 922286648869847700, 204404170303891102,
        3963570588256049,
    ),
    "xxh32": (
        125697124, 899546107, 441372471, 462256105, 1273034860, 339415584, 503557117, 99635522,
        1493573167,
    ),
}  # fmt: skip


@pytest.mark.parametrize("hashed_by", DATATROVE)
def test_signatures_are_datatroves(hashed_by: str) -> None:
    step = step_of(signature="datatrove", datatrove_hash=hashed_by)
    signed, which = step.signatures(pa.array(["too short", _FOX], pa.large_string()))
    assert which.tolist() == [1]
    assert (*signed[0, :8].tolist(), int(signed[0, -1])) == DATATROVE[hashed_by]


def test_datatroves_permutations() -> None:
    multipliers, offsets = datatrove.permutations(112)
    assert multipliers[:3].tolist() == [775169054918279404, 1758426461858698313, 2109959069025162]
    assert offsets[:3].tolist() == [1062448801025099917, 1324811268927594100, 1217488311597731462]
    assert (int(multipliers[-1]), int(offsets[-1])) == (223865076026037746, 1097409548522419201)
    hello = int(datatrove.shingle_hashes("hello", 1, "sha1_64")[0])
    with np.errstate(over="ignore"):
        wrapped = (np.uint64(hello) * multipliers[0] + offsets[0]) % np.uint64(datatrove.MERSENNE_PRIME)
    assert (hello, int(wrapped)) == (11738849977924252842, 654673216207885643)


@pytest.mark.parametrize(
    ("hashed_by", "expected"),
    [
        ("sha1_64", 1214900226509477255),
        ("sha1_32", 3064173959),
        ("xxh64", 10121740836305097868),
        ("xxh32", 680212021),
    ],
)
def test_datatroves_hashes(hashed_by: str, expected: int) -> None:
    assert datatrove.shingle_hashes("a b c d e", 5, hashed_by).tolist() == [expected]


def test_datatroves_normal_form_and_words() -> None:
    simplified = datatrove.simplified("Héllo, World!  It's 3.14 — on 12,345 days…\nCAFÉ № 5")
    assert simplified == "hello world it s 0 on 0 days cafe № 0"
    # recorded from datatrove 0.10.1 with spaCy 3.8
    recorded = {
        "I CANNOT stay, dont ask; 5km at 10am": "i|can|not|stay|do|nt|ask|0|km|at|0am",
        "عمق 3م و 20 كم، 7кг 5км² 3тб": "عمق|0|م|و|0|كم|،|0|кг|0|км²|0тб",
    }
    for text, tokens in recorded.items():
        assert "|".join(datatrove.words(text)) == tokens


@settings(max_examples=200, deadline=None)
@given(st.one_of(pieces, st.text(st.characters(exclude_categories=["Cs"]), max_size=60)))
@example("\u037e a\u037eb \u1fef \u2000x\u2001 3.5٫7 … ½² 3м e\u0301")
@example("a" * 100 + " dont")
def test_words_are_those_of_the_simplified_text(text: str) -> None:
    plain = datatrove.simplified(text)
    assert " ".join(datatrove.words(text)).replace(" ", "") == plain.replace(" ", "")
    expected = [token for chunk in plain.split() for token in datatrove._tokens(chunk)]
    assert datatrove.words(text) == expected


@pytest.mark.parametrize("params", [{}, {"unit": "char"}, {"signature": "datatrove"}, {"preset": "nemo"}], ids=str)
def test_odd_texts_have_keys_or_none(params: dict) -> None:
    """One word, one word for ever, emoji, scripts without spaces, nothing: equal texts agree, others do not."""
    texts = ["word", "echo " * 50_000, "👩‍👩‍👧 🫠 😀 " * 20, "我喜欢猫和狗" * 20, "กำลังไปโรงเรียน" * 20, "...", "", " "]
    step = step_of(**params)
    keys = step.keys(batch_of(*texts, *texts))
    by_row = {row: keys.key[keys.row == row].tolist() for row in set(keys.row.tolist())}
    assert all(by_row[row] == by_row[row + len(texts)] for row in by_row if row < len(texts))
    assert len({str(each) for each in by_row.values()}) == len(by_row) / 2
    assert {1, 3} <= set(by_row) if params != {"signature": "datatrove"} else {1} <= set(by_row)
    assert not {6, 7} & set(by_row)
