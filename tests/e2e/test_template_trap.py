"""Documents that share a template and nothing else: connected components drop them, verification keeps every one."""

from benchmarks.dedup_theory import family_texts, removed_of_families

T = 0.8  # of the words are the template's, so that any two documents have Jaccard similarity 2/3


def test_a_template_family_survives_verification_alone(tmp_path):
    family = {"family": family_texts(T, documents=150, words=100, seed=1)}
    removed = {}
    for name, verify in (("components", None), ("verified", {"jaccard": 0.8}), ("low", {"jaccard": 0.6})):
        (tmp_path / name).mkdir()
        removed[name] = removed_of_families(family, 14, 8, verify, tmp_path / name)["family"]
    assert removed["verified"] == 0
    # 1 - (1 - .8^8)^14 = .92 of it, where .43 of its pairs are candidates
    assert removed["components"] > 0.75
    assert 0 < removed["low"] <= removed["components"]
