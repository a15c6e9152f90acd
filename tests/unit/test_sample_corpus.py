"""The written corpus: the same bytes every time, and the truth covers every record exactly once."""

import gzip
import hashlib
import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest
import soundfile
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from jobs.sample import write_sample
from jobs.sample.banks import KEPT, load_bank
from jobs.sample.command import sample
from jobs.sample.documents import Composer
from jobs.sample.scenes import parse_caption
from jobs.sample.shingles import jaccard, shingles
from jobs.sample.sounds import is_held_out, parse_transcript
from jobs.sample.texts import TEMPLATES, plant_templates
from schemas.errors import SluiceError
from transforms.dedup.shingles import jaccard as jaccard_in_recipes
from transforms.dedup.shingles import shingle_hashes

SCALE = 0.06


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "demo"
    made = write_sample(folder, seed=17, scale=SCALE)
    return folder, made


@pytest.fixture(scope="module")
def truth(corpus):
    return [json.loads(line) for line in (corpus[0] / "truth.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def lines(corpus):
    """Every line of every text file, by (file, row)."""
    return {
        (f"text/{path.name}", row): line
        for path in sorted((corpus[0] / "text").iterdir())
        for row, line in enumerate(gzip.decompress(path.read_bytes()).split(b"\n")[:-1])
    }


def _texts(lines, truth):
    return {t["id"]: json.loads(lines[t["file"], t["row"]])["text"] for t in truth if _has_text(t)}


def _has_text(record):
    return record["modality"] == "text" and not record["kind"].startswith("broken")


def _samples(path):
    """Samples of a tar, in order: key -> {ending: bytes}."""
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            assert (member.mtime, member.uid, member.uname) == (0, 0, "")
            key, _, ending = member.name.partition(".")
            samples.setdefault(key, {})[ending] = archive.extractfile(member).read()
    return samples


def _media_file(sample):
    (ending,) = sample.keys() - {"txt", "json"}
    return ending, sample[ending]


def _digests(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes(corpus, tmp_path):
    write_sample(tmp_path / "again", seed=17, scale=SCALE)
    assert _digests(tmp_path / "again") == _digests(corpus[0])
    write_sample(tmp_path / "other", seed=18, scale=0.01)
    write_sample(tmp_path / "small", seed=17, scale=0.01)
    other, small = _digests(tmp_path / "other"), _digests(tmp_path / "small")
    assert other.keys() == small.keys()
    assert [name for name in other if other[name] == small[name]] == ["README.md"]


def test_the_truth_covers_every_text_once(truth, lines):
    told = [t for t in truth if t["modality"] == "text"]
    assert Counter((t["file"], t["row"]) for t in told) == Counter(lines.keys())
    for t in told:
        if _has_text(t):
            record = json.loads(lines[t["file"], t["row"]])
            assert record["id"] == t["id"]
            assert set(record) == {"id", "text", "url", "license"}
        else:
            assert t["id"] == f"{t['file']}#{t['row']}"


@pytest.mark.parametrize(("modality", "folder"), [("image", "images"), ("audio", "audio")])
def test_the_truth_covers_every_medium_once(corpus, truth, modality, folder):
    found = []
    for path in sorted((corpus[0] / folder).iterdir()):
        found += [(key, f"{folder}/{path.name}", row) for row, key in enumerate(_samples(path))]
    assert [(t["id"], t["file"], t["row"]) for t in truth if t["modality"] == modality] == found
    assert len({key for key, _, _ in found}) == len(found)


def test_ids_are_unique_and_copies_come_after_their_originals(truth):
    assert len({t["id"] for t in truth}) == len(truth)
    place = {t["id"]: at for at, t in enumerate(truth)}
    kinds = {t["id"]: t["kind"] for t in truth}
    copies = [t for t in truth if "of" in t]
    assert Counter(t["kind"] for t in copies) >= Counter(exact_duplicate=8, near_duplicate=5, revision=2)
    for t in copies:
        assert place[t["of"]] < place[t["id"]]
        assert kinds[t["of"]] == "clean"


def test_counts_languages_and_expectations(corpus, truth):
    counts = Counter(f"{t['modality']}/{t['kind']}" for t in truth)
    assert corpus[1]["counts"] == counts
    assert {t["lang"] for t in truth if t["modality"] == "text" and t["kind"] == "clean"} == set(KEPT)
    assert {t["expected"] for t in truth if t["kind"] in ("clean", "template", "revision")} == {"kept"}
    for t in truth:
        assert (t["expected"] == "kept") == ("reason" not in t), t


def test_copies_are_as_similar_as_the_truth_says(truth, lines):
    texts = _texts(lines, truth)
    for t in truth:
        if t["modality"] == "text" and t["kind"] in ("exact_duplicate", "near_duplicate", "revision"):
            one, other = texts[t["id"]], texts[t["of"]]
            assert t["jaccard"] == round(jaccard(shingles(one), shingles(other)), 4)
            # the recipe's own shingles agree about what is a duplicate
            measured = jaccard_in_recipes(shingle_hashes(one, 5), shingle_hashes(other, 5))
            assert measured == pytest.approx(t["jaccard"], abs=0.02)
            low, high = {"exact_duplicate": (1, 1), "near_duplicate": (0.88, 0.99), "revision": (0.45, 0.62)}[t["kind"]]
            assert low <= t["jaccard"] <= high


def test_unrelated_documents_are_far_apart(truth, lines):
    texts = _texts(lines, truth)
    for lang in ("en", "ru", "zh"):
        clean = [t["id"] for t in truth if t["modality"] == "text" and t["kind"] == "clean" and t["lang"] == lang]
        found = [shingles(texts[one]) for one in clean]
        assert len(found) >= 6
        assert max(jaccard(a, b) for at, a in enumerate(found) for b in found[:at]) < 0.4


@pytest.mark.parametrize("lang", TEMPLATES)
def test_template_documents_share_much_but_survive(lang):
    family = [shingles(record.body) for record in plant_templates(Composer(load_bank(lang), 17), 12)]
    similar = [jaccard(a, b) for at, a in enumerate(family) for b in family[:at]]
    assert min(similar) > 0.3
    assert max(similar) < 0.72  # verified dedup at 0.8 keeps them all


def test_broken_lines_are_broken_as_labelled(truth, lines):
    for t in truth:
        line = lines[t["file"], t["row"]] if t["modality"] == "text" else b""
        if t["kind"] == "broken:invalid_utf8":
            with pytest.raises(UnicodeDecodeError):
                line.decode()
        elif t["kind"] == "broken:bad_json":
            with pytest.raises(json.JSONDecodeError):
                json.loads(line)
        elif t["kind"] == "broken:not_an_object":
            assert isinstance(json.loads(line), list)
        elif t["kind"].startswith("broken:"):
            assert not isinstance(json.loads(line).get("text"), str)


def test_held_out_scenes_and_clips_do_not_occur_in_training(corpus, truth):
    folder = corpus[0]
    kinds = {t["id"]: t["kind"] for t in truth}
    for part, parse, is_unseen, held_out in (
        ("images", parse_caption, lambda scene: scene.is_held_out, "scenes-000000.tar"),
        ("audio", parse_transcript, is_held_out, "clips-000000.tar"),
    ):
        trained = {}
        for path in (folder / part).iterdir():
            trained |= _samples(path)
        unseen = _samples(folder / "heldout" / held_out)
        assert len(unseen) >= 3
        assert not unseen.keys() & trained.keys()
        told = {parse(sample["txt"].decode()) for sample in trained.values()}
        new = {parse(sample["txt"].decode()) for sample in unseen.values()}
        assert not told & new
        assert [is_unseen(one) for one in (*told, *new)] == [False] * len(told) + [True] * len(new)
        hashes = [hashlib.sha256(_media_file(s)[1]).digest() for key, s in trained.items() if kinds[key] == "clean"]
        assert len(set(hashes)) == len(hashes)


def test_captions_match_the_facts_beside_them(corpus, truth):
    kinds = {t["id"]: t["kind"] for t in truth}
    wrong = 0
    for path in (corpus[0] / "images").iterdir():
        for key, members in _samples(path).items():
            meta = json.loads(members["json"])
            matched = parse_caption(members["txt"].decode()).as_json() == meta["scene"]
            assert matched == (kinds[key] != "wrong_pair")
            assert meta.get("matched", True) == matched
            wrong += not matched
    assert wrong >= 1


def test_media_decode_unless_labelled_corrupt(corpus, truth):
    samples = {}
    for path in [*(corpus[0] / "images").iterdir(), *(corpus[0] / "audio").iterdir()]:
        samples |= _samples(path)
    for t in truth:
        if t["modality"] == "text":
            continue
        ending, data = _media_file(samples[t["id"]])
        if t["kind"].startswith("corrupt_"):
            if t["modality"] == "image":
                with pytest.raises((OSError, SyntaxError)):
                    Image.open(io.BytesIO(data)).load()
        elif t["modality"] == "image":
            image = Image.open(io.BytesIO(data))
            image.load()
            assert image.format == {"jpg": "JPEG"}.get(ending, ending.upper())
            assert (min(image.size) < 32) == (t["kind"] == "tiny_image")
            assert (max(image.size) > 3 * min(image.size)) == (t["kind"] == "long_image")
        else:
            heard, rate = soundfile.read(io.BytesIO(data))
            assert rate == 16_000
            assert (len(heard) < 0.3 * rate) == (t["kind"] == "short_audio")
            assert ((abs(heard) > 0.999).mean() > 0.01) == (t["kind"] == "clipped_audio")


def test_a_folder_that_holds_a_sample_is_left_alone(corpus):
    before = _digests(corpus[0])
    with pytest.raises(
        SluiceError, match=r"already holds text, images, audio, heldout, labelled, truth\.jsonl, README\.md"
    ):
        write_sample(corpus[0])
    assert _digests(corpus[0]) == before


@pytest.mark.parametrize("scale", [0, -1, 101])
def test_a_senseless_scale_is_an_error(tmp_path, scale):
    with pytest.raises(SluiceError, match="scale"):
        write_sample(tmp_path / "demo", scale=scale)
    assert not (tmp_path / "demo").exists()


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "demo").write_text("not a folder")
    with pytest.raises(SluiceError, match="cannot write a sample"):
        write_sample(tmp_path / "demo", scale=0.01)


def test_the_command_prints_what_it_made(tmp_path):
    app = Typer()
    app.command()(sample)
    plain = CliRunner().invoke(app, [str(tmp_path / "a"), "--scale", "0.01"])
    assert plain.exit_code == 0
    assert "texts in 20 languages" in plain.output
    as_json = CliRunner().invoke(app, [str(tmp_path / "b"), "--scale", "0.01", "--json"])
    assert json.loads(as_json.output)["counts"]["text/broken:bad_json"] == 1
    assert _digests(tmp_path / "a") == _digests(tmp_path / "b")


def test_a_modality_alone_is_what_it_is_in_company(corpus, tmp_path):
    made = write_sample(tmp_path / "alone", seed=17, scale=SCALE, modalities=("audio",))
    alone, whole = _digests(tmp_path / "alone"), _digests(corpus[0])
    media = [name for name in alone if name.endswith(".tar")]
    assert media and all(alone[name] == whole[name] for name in media)
    assert not any(name.startswith(("text", "images", "labelled")) for name in alone)
    assert {name.partition("/")[0] for name in made["counts"]} == {"audio"}
    with pytest.raises(SluiceError, match="a sample has no 'video'"):
        write_sample(tmp_path / "video", modalities=("video",))
