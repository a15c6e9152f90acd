"""LSH behaves as its formula says; bench-dedup_theory looks at more settings and pairs."""

import numpy as np

from benchmarks.dedup_theory import candidates, pair_texts
from transforms.dedup.shingles import jaccard, shingle_hashes


def test_pairs_have_the_similarity_they_are_said_to():
    for similarity in (0.5, 0.75, 0.95):
        texts = pair_texts(similarity, 2, np.random.default_rng(1))
        one, two, three, _ = (shingle_hashes(text, 1) for text in texts)
        assert (jaccard(one, two), jaccard(one, three)) == (similarity, 0)


def test_candidates_are_as_many_as_the_formula_says():
    lines = candidates(400, [(14, 8), (20, 13), (5, 25)], [0.6, 0.7, 0.8, 0.9])
    assert len(lines) == 12
    assert {(line["bands"], line["jaccard"]) for line in lines if abs(line["z"]) > 3} == set()
