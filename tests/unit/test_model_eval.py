"""Scores of a checkpoint: each document's own loss, groups, captions, transcripts, choices; and `sluice eval`."""

import dataclasses
import io
import json
import math
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import typer
from typer.testing import CliRunner

from jobs.evaluate import evaluate
from jobs.facts import transcript_facts
from model.data.collate import collate
from model.data.dataset import Sequence, TokenShards, dataset_info
from model.data.tokenizer import TextCodec
from model.eval.captions import read_caption_pairs
from model.eval.choices import Question, read_questions, score_choices
from model.eval.dataset import (
    check_tokenizer,
    document_languages,
    named_sequences,
    score_dataset,
    token_bytes,
    unseen_rows,
)
from model.eval.documents import document_losses, document_modalities, score_documents
from model.eval.groups import group_losses
from model.interop import save_checkpoint_files
from model.net.vlm import build
from schemas.errors import SchemaError, SluiceError
from schemas.ledger import ledger_schema
from schemas.manifest import MANIFEST_NAME, LedgerEntry, read_manifest
from tests.model_data import (
    VOCAB,
    audio_document,
    byte_tokenizer,
    image_document,
    mixed_rows,
    sequence_row,
    square,
    text_document,
    tiny,
    tone,
    write_dataset,
)


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return build(tiny(), 3).eval()


@pytest.fixture(scope="module")
def place(tmp_path_factory, model):
    """A dataset with a ledger, and a checkpoint of the run that held a quarter of it out."""
    folder = tmp_path_factory.mktemp("eval")
    data = write_dataset(folder / "data", mixed_rows(8), 160, "f1")
    languages = [("row0/0", "en"), ("row1/0", "de"), ("row3/0", "en"), ("row2/0", None)]
    write_ledger(data, [{"id": name, "text.lang": lang} for name, lang in languages])
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    save_checkpoint_files(model, checkpoint)
    byte_tokenizer().save(str(checkpoint / "tokenizer.json"))
    run = {"configuration": {"holdout_ratio": 0.25}, "data": "f1"}
    (checkpoint / "training").mkdir()
    (checkpoint / "training" / "training.json").write_text(json.dumps({"run": run}))
    return folder


def write_ledger(data, rows):
    schema = ledger_schema([pa.field("text.lang", pa.string())])
    blank = dict.fromkeys(schema.names) | {"source": "s", "modality": "text", "verdict": "kept"}
    (data / "ledger").mkdir()
    pq.write_table(pa.Table.from_pylist([blank | row for row in rows], schema), data / "ledger" / "l.parquet")
    entry = LedgerEntry(path="ledger/l.parquet", rows=len(rows), bytes=0, sha256="")
    manifest = read_manifest(data).model_copy(update={"ledger": [entry]})
    (data / MANIFEST_NAME).write_text(manifest.model_dump_json())


def test_a_documents_loss_is_what_it_is_alone(tmp_path, model):
    documents = [
        text_document("one"),
        image_document(square("red"), "a red square"),
        text_document("a longer second text"),
        audio_document(tone(300, 0.4), 40, "a tone"),
    ]
    rows = [sequence_row(documents, 200), *[sequence_row([document], 200) for document in documents]]
    shards = TokenShards(dataset_info(write_dataset(tmp_path / "d", rows, 200)).shards)
    together, tokens = document_losses(model, collate([shards[0]]))
    assert document_modalities(shards[0]) == ["text", "image", "text", "audio"]
    for at in range(4):
        batch = collate([shards[at + 1]])
        (alone,), (count,) = document_losses(model, batch)
        assert together[at] == pytest.approx(alone, rel=1e-5)
        assert tokens[at] == count == int((batch.targets >= 0).sum())
        # and the mean that training would report
        with torch.no_grad():
            assert alone / count == pytest.approx(float(model(batch).language), rel=1e-5)


def test_groups_by_language_and_modality(place, model):
    info = dataset_info(place / "data")
    shards = TokenShards(info.shards)
    languages = document_languages(place / "data")
    assert languages == {"row0/0": "en", "row1/0": "de", "row3/0": "en", "row2/0": None}
    named = named_sequences(info, shards, [0, 1, 2, 3])
    documents = score_documents(model, named, token_bytes(info.tokenizer, VOCAB), languages)
    assert [d.id for d in documents[:3]] == ["row0/0", "row1/0", "row1/1"]
    assert [d.modality for d in documents[:4]] == ["text", "text", "image", "audio"]
    # "document 0 is short" and the end of text: the first token is foretold by nothing, the last stands for no text
    assert (documents[0].tokens, documents[0].bytes) == (19, 18)
    groups = {(g.kind, g.name): g for g in group_losses(documents)}
    expected = [("all", "all"), *(("modality", m) for m in ("audio", "image", "text"))]
    assert list(groups) == [*expected, ("language", "de"), ("language", "en"), ("language", "unknown")]
    english = [d for d in documents if d.language == "en"]
    found = groups["language", "en"]
    assert (found.documents, found.tokens, found.bytes) == (2, 38, 36)
    nats = sum(d.nats for d in english)
    assert found.nats_per_token == pytest.approx(nats / 38) and found.bits_per_byte == pytest.approx(
        nats / math.log(2) / 36
    )
    assert groups["all", "all"].tokens == sum(d.tokens for d in documents)
    assert groups["language", "unknown"].documents == 1  # captions and transcripts are not of an unknown language


def test_pieces_of_one_document_are_one(tmp_path, model):
    rows = [sequence_row([text_document(text)], 60, "long") for text in ("first piece", "second piece")]
    info = dataset_info(write_dataset(tmp_path / "d", rows, 60))
    named = list(named_sequences(info, TokenShards(info.shards), [0, 1]))
    sizes = np.ones(VOCAB, np.int64)
    (document,) = score_documents(model, named, sizes, {})
    parts = [score_documents(model, [one], sizes, {})[0] for one in named]
    assert document.id == "long/0" and document.tokens == sum(part.tokens for part in parts)
    assert document.nats == pytest.approx(sum(part.nats for part in parts))


def test_a_runs_own_data_is_scored_where_it_was_held_out(place, model, tmp_path):
    info = dataset_info(place / "data")
    rows = unseen_rows(info, 8, place / "checkpoint")
    assert len(rows) == 2
    other = dataclasses.replace(info, fingerprint="other")
    assert unseen_rows(other, 8, place / "checkpoint") == list(range(8))
    fewer = dataclasses.replace(info, fingerprint="f1-2")
    with pytest.raises(SluiceError, match="when other rows of it were forgotten"):
        unseen_rows(fewer, 7, place / "checkpoint")
    (tmp_path / "training").mkdir()
    training = tmp_path / "training" / "training.json"
    training.write_text(json.dumps({"run": {"configuration": {"holdout_ratio": 0.25}, "data": "f0+f1"}}))
    with pytest.raises(SluiceError, match="and other data together"):
        unseen_rows(info, 8, tmp_path)
    training.write_text(json.dumps({"run": {"configuration": {"holdout_ratio": 0.0}, "data": "f1"}}))
    with pytest.raises(SluiceError, match="trained on all of"):
        unseen_rows(info, 8, tmp_path)
    training.write_text("[]")
    with pytest.raises(SluiceError, match="does not say what the checkpoint was trained on"):
        unseen_rows(info, 8, tmp_path)
    scored = score_dataset(model, place / "data", place / "checkpoint")
    expected = {name for names, _ in named_sequences(info, TokenShards(info.shards), rows) for name in names}
    assert {document.id for document in scored} == expected


def test_bytes_of_tokens(tmp_path):
    codec = byte_tokenizer()
    codec.add_tokens(["ω word"])
    codec.save(str(tmp_path / "tokenizer.json"))
    sizes = token_bytes(tmp_path, codec.get_vocab_size())
    assert sizes[:256].tolist() == [1] * 256
    assert sizes[codec.token_to_id("<|endoftext|>")] == 0 and sizes[codec.token_to_id("ω word")] == 7


def test_data_of_another_tokenizer_is_refused(place, tmp_path):
    codec = byte_tokenizer()
    codec.add_tokens(["more"])
    codec.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(SluiceError, match="its ids mean other text"):
        check_tokenizer(tmp_path, place / "checkpoint")
    with pytest.raises(SluiceError, match="outside the 256 of its manifest"):
        token_bytes(tmp_path, 256)
    (tmp_path / "tokenizer.json").write_text('{"model": {}}')
    with pytest.raises(SluiceError, match="cannot be read as a byte-level tokenizer"):
        token_bytes(tmp_path, 256)


def test_a_torn_ledger_is_told(place, tmp_path):
    data = write_dataset(tmp_path / "d", mixed_rows(2), 160)
    write_ledger(data, [{"id": "a", "text.lang": "en"}])
    (data / "ledger" / "l.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SchemaError, match="not a readable ledger"):
        document_languages(data)


def test_choices_by_hand(model):
    """The sum of the log-probabilities of a choice's tokens, and the same divided by its characters."""
    codec = TextCodec(byte_tokenizer().to_str())
    prompt, choices = "Which?", ("a", "no", "something")
    by_hand = []
    for choice in choices:
        ids = torch.tensor(codec.encode(f"{prompt} {choice}"))
        batch = collate([_text(ids.tolist())])
        with torch.no_grad():
            steps = model.logits(batch).log_softmax(-1)[:-1].gather(1, ids[1:, None]).flatten()
        by_hand.append(float(steps[len(prompt) - 1 :].sum()))
    best = int(np.argmax(by_hand))
    normed = int(np.argmax([value / len(choice) for value, choice in zip(by_hand, choices, strict=True)]))
    assert best != normed  # or the case would show nothing
    for answer in range(3):
        scores = score_choices(model, codec, [Question(prompt, choices, answer)])
        assert (scores.acc, scores.acc_norm) == (float(answer == best), float(answer == normed))
        assert scores.chance == pytest.approx(1 / 3)


def _text(ids):
    return Sequence(np.array(ids, np.int32), (len(ids),), (), (), ())


def test_questions_are_read_strictly(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text(
        '{"question": "1+1?", "choices": ["2", "3"], "answer": 0}\n\n{"prompt": "x ", "choices": ["a", "b"], '
        '"answer": 1}\n'
    )
    assert read_questions(path) == [
        Question("Question: 1+1?\nAnswer:", ("2", "3"), 0),
        Question("x", ("a", "b"), 1),
    ]
    bad = {
        "[" * 100_000: "not JSON",
        "[1]": "expected an object with a prompt or a question",
        '{"prompt": "a", "question": "a", "choices": ["a","b"], "answer": 0}': "expected an object",
        '{"prompt": 1, "choices": ["a","b"], "answer": 0}': "must be a text",
        '{"prompt": "a", "choices": ["a"], "answer": 0}': "two texts or more",
        '{"prompt": "a", "choices": ["a", " "], "answer": 0}': "none of them empty",
        '{"prompt": "a", "choices": ["a", "b"], "answer": 2}': "the index of a choice, 0 to 1",
        '{"prompt": "a", "choices": ["a", "b"], "answer": true}': "the index of a choice",
    }
    for line, message in bad.items():
        path.write_text('{"prompt": "x", "choices": ["a", "b"], "answer": 0}\n' + line)
        with pytest.raises(SluiceError, match=f"line 2: .*{message}"):
            read_questions(path)
    path.write_bytes(b"\xff")
    with pytest.raises(SluiceError, match="cannot be read as JSON lines"):
        read_questions(path)
    path.write_text("\n")
    with pytest.raises(SluiceError, match="holds no question"):
        read_questions(path)


def test_facts_of_a_transcript():
    facts = transcript_facts("A short low sine tone, then two long high beeps.")
    assert facts == ("tone", "low", "short", "sine", "1", "beeps", "high", "long", "", "2")
    assert transcript_facts("") is None and transcript_facts("a bird") is None


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def call(*words):
    app = typer.Typer()
    app.command()(evaluate)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_eval_scores_what_it_is_given(place, tmp_path):
    with tarfile.open(tmp_path / "pairs.tar", "w") as tar:
        add(tar, "a.png", square("red"))
        add(tar, "a.txt", b"A small red circle on a white background.")
        add(tar, "b.wav", tone(300, 0.4))
        add(tar, "b.txt", b"A short low sine tone.")
    assert [pair.caption for pair in read_caption_pairs(tmp_path, 9, "audio")] == ["A short low sine tone."]
    (tmp_path / "q.jsonl").write_text('{"prompt": "x", "choices": ["a", "b"], "answer": 0}\n')
    words = (place / "checkpoint", "--data", place / "data", "--captions", tmp_path, "--sounds", tmp_path)
    words += ("--choices", tmp_path / "q.jsonl", "--threads", 1, "--out", tmp_path / "scores.json")
    found = json.loads(call(*words, "--json"))
    assert json.loads((tmp_path / "scores.json").read_text()) == found
    groups = found["loss"]["groups"]
    assert groups[0]["kind"] == "all" and groups[0]["documents"] == sum(
        g["documents"] for g in groups if g["kind"] == "modality"
    )
    assert found["captions"]["pairs"] == found["sounds"]["pairs"] == 1
    assert found["choices"][str(tmp_path / "q.jsonl")]["questions"] == 1
    told = call(*words)
    for part in ("bits/byte", "captions: of 1", "sounds: of 1", "acc_norm"):
        assert part in told
    with pytest.raises(SluiceError, match="nothing to score"):
        call(place / "checkpoint")
