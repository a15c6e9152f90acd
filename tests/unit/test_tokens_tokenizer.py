"""The tokenizer: control tokens against text that spells them, round trips, files in and out, errors."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import pickle
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from schemas.control_tokens import FAMILY, QWEN, is_control
from schemas.errors import SluiceError
from transforms.tokens import engine as engines
from transforms.tokens.engine import choose, disagreement
from transforms.tokens.ranks import BYTE_CHARS
from transforms.tokens.tokenizer import Tokenizer
from transforms.tokens.train import train_bpe

CORPUS = [
    "the quick brown fox jumps over the lazy dog and the lazy cat",
    "der schnelle braune Fuchs springt über den faulen Hund",
    "быстрая лиса прыгает через ленивую собаку; быстрая река",
    "敏捷的狐狸跳过懒狗, 敏捷的猫",
    "<|endoftext|> is how an endoftext is written: <|endoftext|> <|im_start|> <|im_end|>",
] * 3


@pytest.fixture(scope="module")
def trained():
    return train_bpe(CORPUS, 500)


@pytest.fixture(scope="module", params=["auto", "reference"])
def either(request, trained):
    """The trained tokenizer on each engine."""
    made = Tokenizer(json.loads(trained.json), engine=request.param)
    assert made.engine_name == {"auto": "fast", "reference": "reference"}[request.param], made.engine_reason
    return made


def one(tokenizer: Tokenizer, text: str) -> list[int]:
    ids, offsets = tokenizer.encode([text])
    assert offsets.tolist() == [0, len(ids)]
    return ids.tolist()


@pytest.mark.parametrize("name", FAMILY)
def test_a_control_token_spelled_in_text_is_text(either, name):
    ids = one(either, f"x{name}{name} {name}\n{name}")
    assert not set(ids) & set(either.special_ids.values())
    assert either.decode(ids) == f"x{name}{name} {name}\n{name}"


@given(st.lists(st.text(), max_size=5))
def test_decoding_gives_back_the_nfc_text(either, texts):
    ids, offsets = either.encode(texts)
    assert (ids.dtype, offsets.dtype, offsets[-1]) == (np.int32, np.int64, len(ids))
    pieces = [either.decode(ids[a:b]) for a, b in itertools.pairwise(offsets)]
    assert pieces == [unicodedata.normalize("NFC", text) for text in texts]


def test_ids_do_not_depend_on_what_is_encoded_with_a_text(either):
    together, offsets = either.encode(CORPUS[:5])
    assert [one(either, text) for text in CORPUS[:5]] == [
        together[a:b].tolist() for a, b in itertools.pairwise(offsets)
    ]


def test_no_texts(either):
    ids, offsets = either.encode([])
    assert (ids.tolist(), offsets.tolist()) == ([], [0])


def test_decode_writes_control_tokens_out_and_skips_unknown_ids(trained):
    pad = trained.special_ids["<|image_pad|>"]
    assert trained.decode([*one(trained, "fox"), pad, trained.vocab_size + 5]) == "fox<|image_pad|>"
    assert trained.decode(one(trained, "é")[:1]) == ("é" if len(one(trained, "é")) == 1 else "\ufffd")


def test_decode_agrees_with_tokenizers(trained):
    theirs = tokenizers.Tokenizer.from_str(trained.json)
    rng = np.random.default_rng(1)
    for _ in range(200):
        ids = rng.integers(0, trained.vocab_size, 12).tolist()
        assert trained.decode(ids) == theirs.decode(ids, skip_special_tokens=False)


def test_saving_and_loading_keeps_the_fingerprint(trained, tmp_path):
    trained.save(tmp_path / "t")
    for spec in (tmp_path / "t", tmp_path / "t" / "tokenizer.json"):
        again = Tokenizer.load(str(spec))
        assert (again.fingerprint, again.special_ids) == (trained.fingerprint, trained.special_ids)
    assert hashlib.sha256((tmp_path / "t" / "tokenizer.json").read_bytes()).hexdigest() == trained.fingerprint


def test_the_layout_of_a_file_does_not_change_the_fingerprint(trained, tmp_path):
    definition = json.loads(trained.json)
    model = definition["model"]
    model["merges"] = [" ".join(merge) for merge in model["merges"]]
    model["vocab"] = dict(sorted(model["vocab"].items()))
    definition |= {"added_tokens": definition["added_tokens"][::-1], "truncation": {"max_length": 3}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition, indent=3))
    assert Tokenizer.load(tmp_path).fingerprint == trained.fingerprint


def test_pickles(trained):
    again = pickle.loads(pickle.dumps(trained))  # noqa: S301 - our own bytes
    assert one(again, CORPUS[0]) == one(trained, CORPUS[0])
    assert again.fingerprint == trained.fingerprint


def test_missing_control_tokens_come_after_the_vocabulary(trained):
    definition = json.loads(trained.json)
    definition["added_tokens"] = [t for t in definition["added_tokens"] if t["content"] == "<|im_end|>"]
    there = definition["added_tokens"][0]["id"]
    made = Tokenizer(definition)
    assert made.special_ids["<|im_end|>"] == there
    others = [made.special_ids[name] for name in FAMILY if name != "<|im_end|>"]
    assert others == list(range(there + 1, there + 10))
    assert made.vocab_size == there + 10


def test_ids_with_holes_are_kept(tmp_path):
    """cl100k and others skip ids, which `tokenizers` fills by itself unless told otherwise."""
    ranks = {bytes([b]): b for b in range(256)} | {b"ab": 300, b"cd": 305}
    (tmp_path / "x.tiktoken").write_bytes(rank_lines(ranks))
    Tokenizer.load(tmp_path / "x.tiktoken").save(tmp_path / "saved")
    made = Tokenizer.load(tmp_path / "saved")
    assert one(made, "abcd<|im_end|>")[:2] == [300, 305]
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json"))
    assert [theirs.token_to_id(name) for name in FAMILY] == list(range(306, 316))
    assert [made.special_ids[name] for name in FAMILY] == list(range(306, 316))
    assert theirs.encode("ab<|im_end|>").ids == [300, 308]


def test_words_added_for_a_domain_are_text_and_tags_are_not(trained):
    definition = json.loads(trained.json)
    for content in ("    ", "Quarzuhr", "<think>"):
        token = definition["added_tokens"][0] | {"id": definition["added_tokens"][-1]["id"] + 1}
        definition["added_tokens"].append(token | {"content": content, "special": False})
    made = Tokenizer(definition)
    assert "<think>" in made.special_ids and "Quarzuhr" not in made.special_ids
    assert one(made, "Quarzuhr") == [definition["added_tokens"][-2]["id"]]
    assert made.special_ids["<think>"] not in one(made, "a <think> b")
    assert [is_control(c, False) for c in ("<a>", "[MASK]", "  ", "<", "<a> b")] == [True, True, False, False, False]


def test_a_vocabulary_that_builds_control_tokens_from_characters_is_refused():
    chars = "<|im_end|>"
    vocab = {char: b for b, char in BYTE_CHARS.items()}
    merges = []
    for n in range(2, len(chars) + 1):
        merges.append([chars[: n - 1], chars[n - 1]])
        vocab[chars[:n]] = len(vocab)
    definition = json.loads(Tokenizer.load("bytes").json)
    definition["model"] |= {"vocab": vocab, "merges": merges}
    definition["pre_tokenizer"] = definition["pre_tokenizer"]["pretokenizers"][1]
    definition["added_tokens"] = []
    with pytest.raises(SluiceError, match=r"<\|im_end\|>.*forge"):
        Tokenizer(definition, engine="reference").encode(["x"])


def test_the_byte_tokenizer_needs_no_file():
    made = Tokenizer.load("bytes")
    assert one(made, "Aé\n") == [65, 195, 169, 10]
    assert [made.special_ids[name] for name in FAMILY] == list(range(256, 266))


def rank_lines(ranks: dict[bytes, int]) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())


def test_a_tiktoken_file_keeps_its_ranks_as_ids(tmp_path):
    ranks = {bytes([b]): b for b in range(256)} | {b"th": 256, b"the": 257, b" the": 258}
    (tmp_path / "x.tiktoken").write_bytes(rank_lines(ranks))
    made = Tokenizer.load(tmp_path / "x.tiktoken")
    assert one(made, "the thx") == [257, 32, 256, 120]
    assert [made.special_ids[name] for name in FAMILY] == list(range(259, 269))


def test_the_released_control_ids():
    ids = dict(zip(QWEN, range(151_643, 151_643 + len(QWEN)), strict=True))
    published = {
        "<|endoftext|>": 151643,
        "<|im_start|>": 151644,
        "<|im_end|>": 151645,
        "<|vision_start|>": 151652,
        "<|vision_end|>": 151653,
        "<|image_pad|>": 151655,
        "<|video_pad|>": 151656,
        "<|audio_start|>": 151669,
        "<|audio_end|>": 151670,
        "<|audio_pad|>": 151675,
    }
    assert {name: ids[name] for name in FAMILY} == published


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not base64 at all\n", "line 1"),
        (b"QQ== x\n", "line 1"),
        (rank_lines({bytes([b]): b for b in range(255)}), "no rank for 1 of the 256"),
        (rank_lines({bytes([b]): b for b in range(256)} | {b"ab": 7}), "same rank"),
    ],
)
def test_bad_tiktoken_files_are_named(tmp_path, content, says):
    (tmp_path / "x.tiktoken").write_bytes(content)
    with pytest.raises(SluiceError, match=says):
        Tokenizer.load(tmp_path / "x.tiktoken")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "no `model`"),
        (b'{"model": {"type": "WordPiece", "vocab": {}}}', "WordPiece"),
        (b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}', "lacks 255 of the 256"),
    ],
)
def test_bad_tokenizer_files_are_named(tmp_path, content, says):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(SluiceError, match=says):
        Tokenizer.load(tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    for spec in ("no/such/folder/tokenizer.json", "./nowhere", str(tmp_path / "x.tiktoken")):
        with pytest.raises(SluiceError, match="there is no tokenizer at"):
            Tokenizer.load(spec)
    with pytest.raises(SluiceError, match=r"without a tokenizer\.json"):
        Tokenizer.load(tmp_path)


class FakeHub:
    """Stands for `tokenizers.Tokenizer` where it downloads."""

    def __init__(self, text: str) -> None:
        self.text = text

    def from_pretrained(self, name: str) -> FakeHub:
        if name != "org/name":
            raise RuntimeError("no route to host")
        return self

    def to_str(self) -> str:
        return self.text


def test_a_hub_id_is_downloaded_and_a_failure_says_what_to_do(monkeypatch, trained):
    monkeypatch.setattr(tokenizers, "Tokenizer", FakeHub(trained.json))
    assert Tokenizer.load("org/name").fingerprint == trained.fingerprint
    with pytest.raises(SluiceError, match=r"'org/other'.*no route to host.*give the path"):
        Tokenizer.load("org/other")


class Wrong:
    """An engine that is right until a text has a z."""

    name = "fast"

    def __init__(self, tokenizer_json: str) -> None:
        self.right = engines.Reference(tokenizer_json)

    def encode(self, texts):
        ids, offsets = self.right.encode(texts)
        wrong = ids.copy()
        for at, text in enumerate(texts):
            if "ω" in text:
                wrong[offsets[at]] += 1
        return wrong, offsets


def test_a_disagreeing_engine_is_not_used_and_the_text_is_named(monkeypatch, trained):
    monkeypatch.setattr(engines, "Fast", Wrong)
    found, reason = choose(trained.json, "auto", [])
    assert found.name == "reference" and "differently" in reason
    monkeypatch.setattr(engines, "CHECK_TEXTS", ("plain",))
    assert choose(trained.json, "auto", [])[0].name == "fast"
    found, reason = choose(trained.json, "auto", ["abc", "ω here"])
    assert found.name == "reference" and "'ω here'" in reason


def test_an_engine_that_cannot_load_is_not_used(monkeypatch, trained):
    def fail(_: str) -> None:
        raise ValueError("unsupported pattern")

    monkeypatch.setattr(engines, "Fast", fail)
    found, reason = choose(trained.json, "auto", [])
    assert found.name == "reference" and "unsupported pattern" in reason


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=4))
def test_engines_agree_on_any_unicode(trained, texts):
    assert trained.engine_name == "fast"
    assert disagreement(trained._engine[0], reference_of(trained), texts) is None


def test_disagreement_finds_the_text(trained):
    wrong = Wrong(trained.json)
    assert disagreement(wrong, reference_of(trained), ["a", "b", ""]) is None
    assert disagreement(wrong, reference_of(trained), ["a", "ωb", "ω"]) == 1


_REFERENCES: dict[str, engines.Reference] = {}


def reference_of(tokenizer: Tokenizer) -> engines.Reference:
    if tokenizer.fingerprint not in _REFERENCES:
        plain = json.loads(tokenizer.json) | {"added_tokens": []}
        _REFERENCES[tokenizer.fingerprint] = engines.Reference(json.dumps(plain))
    return _REFERENCES[tokenizer.fingerprint]


ONE_THREAD = """
import os
from transforms.tokens.tokenizer import Tokenizer
before, threads = dict(os.environ), len(os.listdir("/proc/self/task"))
tokenizer = Tokenizer.load("bytes")
assert tokenizer.engine_name == "fast"
tokenizer.encode(["many short words in a long text, " * 30000] * 8)
assert dict(os.environ) == before
print(threads, len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_encoding_starts_no_pool_of_threads():
    many = os.environ | {"RAYON_NUM_THREADS": "8", "FASTOKENS_BPE_THREADS": "8"}
    command = [sys.executable, "-c", ONE_THREAD]
    found = subprocess.run(command, env=many, capture_output=True, text=True, check=True)
    before, after = map(int, found.stdout.split())
    assert after == before


FORKED = """
import multiprocessing
from transforms.tokens.tokenizer import Tokenizer
TEXT = ["long enough for every pool there is, " * 20000]
def encode(tokenizer): return int(tokenizer.encode(TEXT)[0].sum())
if __name__ == "__main__":
    tokenizer = Tokenizer.load("bytes")
    mine = encode(tokenizer)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(encode, (tokenizer,)).get(60) == mine
    print("equal")
"""


def test_a_forked_worker_can_encode_after_its_parent_did(tmp_path):
    (tmp_path / "forked.py").write_text(FORKED)
    command = [sys.executable, str(tmp_path / "forked.py")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.stdout == "equal\n", found.stderr
