"""Batches made ahead: the same whatever the number of threads, resumable at every step, errors with their place."""

import itertools

import pytest
import torch

from model.config import LoaderConfig
from model.data.dataset import AudioPart, ImagePart, TokenShards, dataset_info, joined
from model.data.loader import Loader
from model.data.media import MediaCache
from model.data.shards import HoldoutSplit, SequenceReader
from schemas.errors import SchemaError, SluiceError
from tests.model_data import image_document, mixed_rows, sequence_row, square, text_document, tone, write_dataset

STEPS = 9


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset") / "d", mixed_rows(10), 160)


def loader(folder, config, **shape):
    shards = TokenShards(dataset_info(folder).shards)
    reader = SequenceReader(shards, HoldoutSplit(len(shards), 0.0), seed=3, media_repeats=2)
    return Loader(reader, config, **({"sequences": 2, "accumulate": 2} | shape))


def tensors(step):
    """Everything a step's batches hold, in one list."""
    found = []
    for micro in step:
        batch = micro.batch
        found += [batch.tokens, batch.targets, batch.positions]
        found += [x for images in [batch.images] if images for x in (images.patches, images.rows)]
        found += [x for audios in [batch.audios] if audios for x in (audios.mel, audios.rows)]
    return found


def same(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_threads_change_nothing_and_every_state_restores_the_rest(dataset):
    inline = loader(dataset, LoaderConfig(threads=0, cache_mib=0))
    states, steps = [], []
    for _ in range(STEPS):
        states.append(inline.state_dict())
        steps.append(next(inline))
    for threads, ahead, cache in ((1, 3, 1), (3, 2, 0)):
        ahead_of_time = loader(dataset, LoaderConfig(threads=threads, steps_ahead=ahead, cache_mib=cache))
        for state, step in zip(states, steps, strict=True):
            # the state is that of the steps taken, though the reader has moved on
            assert ahead_of_time.state_dict() == state
            taken = next(ahead_of_time)
            assert [m.rows for m in taken] == [m.rows for m in step]
            assert same(tensors(taken), tensors(step))
        ahead_of_time.load_state_dict(states[4])
        assert same(tensors(next(ahead_of_time)), tensors(steps[4]))
        ahead_of_time.close()
        # closed in the middle, it goes on where it was taken to
        assert same(tensors(next(ahead_of_time)), tensors(steps[5]))
        ahead_of_time.close()


def test_a_micro_batch_knows_its_rows_tokens_and_targets(dataset):
    (micro,) = next(loader(dataset, LoaderConfig(threads=0), accumulate=1))
    assert len(micro.rows) == 2 and micro.tokens == sum(micro.batch.lengths)
    assert micro.targets == int((micro.batch.targets != -100).sum()) > 0


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_one_order_and_a_run_may_change_their_number(dataset, ranks):
    alone = loader(dataset, LoaderConfig(threads=0), sequences=6)
    rows = [[micro.rows for micro in next(alone)] for _ in range(2)]
    each = [loader(dataset, LoaderConfig(threads=0), sequences=6, rank=r, ranks=ranks) for r in range(ranks)]
    steps = [[[m.rows for m in next(e)] for e in each] for _ in range(2)]
    dealt = [zip(*micro, strict=True) for step in steps for micro in zip(*step, strict=True)]
    assert [tuple(itertools.chain(*turns)) for turns in dealt] == [micro for step in rows for micro in step]
    states = [e.state_dict() for e in each]
    assert all(state == alone.state_dict() for state in states)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_row_that_cannot_be_read_is_named_when_its_step_comes(tmp_path, threads):
    broken = image_document(square("red"), "x")
    broken["images"][0]["data"] = b"no image"
    rows = [sequence_row([text_document(f"text {i}")], 60, f"row{i}") for i in range(5)]
    rows.append(sequence_row([text_document("before"), broken], 60, "bad"))
    source = loader(write_dataset(tmp_path / "d", rows, 60), LoaderConfig(threads=threads, steps_ahead=5), accumulate=1)
    good = 0
    with pytest.raises(SluiceError, match=r"shard-00001\.arrow row 2 \(documents bad/0, bad/1\): the image cannot be"):
        for _ in source:
            good += 1
    assert good == next(i for i in itertools.count() if 5 in plan(tmp_path / "d")[i])
    source.close()


def plan(folder):
    """The rows of each step, without reading them."""
    shards = TokenShards(dataset_info(folder).shards)
    reader = SequenceReader(shards, HoldoutSplit(len(shards), 0.0), seed=3, media_repeats=2)
    return [[reader.pick().row for _ in range(2)] for _ in range(6)]


def test_what_is_kept_is_bounded_and_the_oldest_goes_first():
    one, two, three = (ImagePart(1, (1, 4, 4), square(color)) for color in ("red", "green", "blue"))
    kept = 64 * 64 * 3
    cache = MediaCache(2 * kept + len(one.data) + len(two.data) + len(three.data))
    fresh = [cache.image(part) for part in (one, two, one, three, one)]
    assert [key[0] for key in cache._kept] == [three.data, one.data]
    assert cache._bytes == 2 * kept + len(one.data) + len(three.data)
    assert (fresh[0] == fresh[2]).all() and (fresh[0] == MediaCache(0).image(one)).all()
    assert fresh[0].shape == (16, 1536) and (fresh[0] != fresh[1]).any()


def test_a_clip_of_other_length_is_another_clip():
    cache = MediaCache(1 << 20)
    data = tone(300, 0.5)
    assert cache.audio(AudioPart(0, 40, data)).shape == (128, 40)
    assert cache.audio(AudioPart(0, 20, data)).shape == (128, 20)


def test_datasets_are_joined_when_their_tokenizer_is_one(tmp_path, dataset):
    other = write_dataset(tmp_path / "o", mixed_rows(4, 200), 200, fingerprint="g")
    both = joined([dataset_info(dataset), dataset_info(other)])
    assert len(TokenShards(both.shards)) == 14 and both.fingerprint == "f+g" and both.sequence_length == 200
    assert joined([dataset_info(dataset)]) == dataset_info(dataset)
    with pytest.raises(SchemaError, match="is given twice"):
        joined([dataset_info(dataset), dataset_info(dataset)])
    path = other / "manifest.json"
    path.write_text(path.read_text().replace('"fingerprint": ""', '"fingerprint": "another"'))
    with pytest.raises(SchemaError, match=r"o was made with another tokenizer than .*d \("):
        joined([dataset_info(dataset), dataset_info(other)])
