"""Rules in other languages than English: stop words, limits, and pages in scripts written without spaces."""

from __future__ import annotations

import pyarrow as pa
import pytest

from schemas.errors import RecipeError
from tests.conformance.batches import numbered
from transforms.base import append_columns
from transforms.registry import build
from transforms.signals import compute_signals
from transforms.text.languages import MAX_STOP_WORDS, language_of, shipped

GERMAN = "Der Fluss stieg in der Nacht bis zur unteren Straße."
GOOD = {
    "zh": [
        "今天早上我们坐船去了对岸的小镇。",
        "天气很好，河面上没有风，街上的人也不多。",
        "我们在一家早点铺里吃了豆浆和油条，然后沿着老城墙慢慢地走。",
        "到了中午，太阳越来越热，大家就在树下休息。",
    ],
    "ja": [
        "今朝、私たちは船に乗って対岸の町へ行きました。",
        "天気がよく、川には風もなく、通りを歩く人も多くありませんでした。",
        "小さな店で朝ごはんを食べてから、古い城壁に沿ってゆっくり歩きました。",
        "昼になると日差しが強くなったので、木の下で休みました。",
    ],
    "th": [
        "เมื่อเช้านี้เรานั่งเรือข้ามไปเที่ยวเมืองเล็ก ๆ ที่อยู่อีกฝั่งของแม่น้ำ",
        "อากาศดีมาก ไม่มีลมพัดบนผิวน้ำ และบนถนนก็มีคนเดินอยู่ไม่มากนัก",
        "เราแวะกินข้าวเช้าที่ร้านเล็ก ๆ แล้วเดินเลียบกำแพงเมืองเก่าไปอย่างช้า ๆ",
        "พอถึงตอนเที่ยงแดดก็แรงขึ้น ทุกคนจึงนั่งพักอยู่ใต้ต้นไม้ใหญ่ริมทาง",
    ],
    "km": [
        "ព្រឹកនេះ យើងជិះទូកឆ្លងទៅលេងទីក្រុងតូចមួយនៅត្រើយម្ខាងនៃទន្លេ។",
        "អាកាសធាតុល្អណាស់ គ្មានខ្យល់បក់លើផ្ទៃទឹក ហើយនៅតាមផ្លូវក៏មិនសូវមានមនុស្សដើរដែរ។",
    ],
    "lo": [
        "ເຊົ້ານີ້ພວກເຮົານັ່ງເຮືອຂ້າມໄປທ່ຽວເມືອງນ້ອຍທີ່ຢູ່ອີກຝັ່ງໜຶ່ງຂອງແມ່ນ້ຳ",
        "ອາກາດດີຫຼາຍ ບໍ່ມີລົມພັດເທິງໜ້ານ້ຳ ແລະຢູ່ຕາມຖະໜົນກໍມີຄົນຍ່າງບໍ່ຫຼາຍ",
    ],
    "my": [
        "ဒီမနက် ကျွန်တော်တို့ လှေစီးပြီး မြစ်တစ်ဖက်ကမ်းက မြို့ငယ်လေးကို သွားခဲ့ကြတယ်။",
        "ရာသီဥတု သာယာပြီး ရေပြင်ပေါ်မှာ လေမတိုက်ဘဲ လမ်းပေါ်မှာလည်း လူသိပ်မများပါဘူး။",
    ],
    "ko": [
        "오늘 아침 우리는 배를 타고 강 건너편의 작은 마을에 다녀왔습니다.",
        "날씨가 좋았고 강 위에는 바람이 없었으며 거리를 걷는 사람도 많지 않았습니다.",
        "작은 가게에서 아침을 먹은 뒤 오래된 성벽을 따라 천천히 걸었고, 그 길에는 나무가 많이 있었습니다.",
        "낮이 되자 햇볕이 뜨거워져서 모두 나무 아래에서 쉬었고, 저녁에는 다시 배를 타고 집으로 돌아왔습니다.",
    ],
}
RULES = ("text.gopher_quality", "text.gopher_repetition", "text.fineweb_quality")


def reason_for(name: str, params: dict, text: str, lang: str | None) -> str | None:
    step = build(name, params)
    batch = append_columns(numbered([{"text": text}]), [(pa.field("text.lang", pa.string()), [lang])])
    rejected = step.apply(compute_signals(batch, step.signals())).rejected
    return rejected["reject.reason"][0].as_py() if rejected.num_rows else None


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("lang", GOOD)
def test_good_pages_pass(lang: str, rule: str) -> None:
    assert reason_for(rule, {}, "\n".join(GOOD[lang]), lang) is None


def test_a_chinese_line_is_shorter_than_an_english_one() -> None:
    text = "\n".join(GOOD["zh"])
    assert reason_for("text.fineweb_quality", {"languages": "published"}, text, "zh") == "too_many_short_lines"
    assert reason_for("text.fineweb_quality", {"preset": "datatrove"}, text, "zh") == "too_many_short_lines"
    assert reason_for("text.fineweb_quality", {}, text, None) == "too_many_short_lines"
    assert reason_for("text.fineweb_quality", {}, "首页。\n新闻。\n体育。\n联系我们。", "zh") == "too_many_short_lines"


def test_lengths_of_ones_own() -> None:
    text = "\n".join(GOOD["zh"])
    longer = {"by_language": {"zh": {"short_line_chars": 40}}}
    assert reason_for("text.fineweb_quality", longer, text, "zh") == "too_many_short_lines"
    assert reason_for("text.fineweb_quality", longer, "\n".join(GOOD["ja"]), "ja") is None
    everywhere = {"short_line_chars": 40}
    assert reason_for("text.fineweb_quality", everywhere, text, "zh") == "too_many_short_lines"
    assert reason_for("text.fineweb_quality", everywhere | {"max_short_line_ratio": None}, text, "zh") is None


@pytest.mark.parametrize(
    ("params", "lang", "reason"),
    [
        ({}, "de", None),
        ({}, "deu_Latn", None),
        ({}, "en", "too_few_stop_words"),
        ({}, None, "too_few_stop_words"),
        ({}, "fr", "too_few_stop_words"),
        ({}, "xx", None),
        ({"languages": "published"}, "de", "too_few_stop_words"),
        ({"preset": "datatrove"}, "de", "too_few_stop_words"),
        ({"preset": "datatrove", "languages": "shipped"}, "de", None),
        ({"preset": "dclm", "languages": "shipped"}, "de", None),
        ({"stop_words": {"de": ["und"]}}, "de", "too_few_stop_words"),
        ({"stop_words": {"de": ["und"]}}, "fr", "too_few_stop_words"),
        ({"stop_words": {"xx": ["der", "bis"]}}, "xx", None),
        ({"stop_words": {"xx": ["der", "und"]}}, "xx", "too_few_stop_words"),
        ({"stop_words": {"en": ["der", "bis"]}}, "en", None),
        ({"languages": "published", "stop_words": {"de": ["der", "bis"]}}, "de", None),
        ({"by_language": {"de": {"min_stop_words": 6}}}, "de", "too_few_stop_words"),
        ({"by_language": {"fr": {"min_stop_words": None}}}, "fr", None),
        ({"min_stop_words": None}, "fr", None),
        ({"min_stop_words": None, "by_language": {"de": {"min_stop_words": 6}}}, "de", "too_few_stop_words"),
    ],
)
def test_stop_words(params: dict, lang: str | None, reason: str | None) -> None:
    assert reason_for("text.gopher_quality", {"min_words": 4} | params, GERMAN, lang) == reason


@pytest.mark.parametrize(
    ("params", "lang", "reason"),
    [
        ({}, "de", None),
        ({}, "xx", "words_too_long"),
        ({"languages": "published"}, "de", "words_too_long"),
        ({"max_word_chars": 9}, "de", "words_too_long"),
        ({"by_language": {"de": {"max_word_chars": 11.5}}}, "de", None),
        ({"by_language": {"deu_Latn": {"max_word_chars": 11}}}, "de", "words_too_long"),
        ({"max_word_chars": None}, "xx", None),
    ],
)
def test_limits(params: dict, lang: str, reason: str | None) -> None:
    nouns = "Zusammenarbeit Geschwindigkeit Verantwortung"
    text = f"{nouns} der {nouns} und " * 20  # 11.25 letters a word
    assert reason_for("text.gopher_quality", {"min_words": 4} | params, text, lang) == reason


def test_a_limit_that_is_set_holds_for_all_languages() -> None:
    params = build("text.gopher_quality", {"max_word_chars": 9}).params
    assert "max_word_chars" not in params.limits()["de"]
    assert params.limits()["de"]["min_word_chars"] == shipped()["de"].limits["text.gopher_quality"]["min_word_chars"]
    assert build("text.gopher_quality", {"preset": "datatrove"}).params.limits() == {}


def test_labels() -> None:
    labels = {
        "de": "de",
        "deu": "de",
        "deu_Latn": "de",
        "zh-Hant": "zh",
        "cmn_Hani": "zh",
        "no": "no",
        "nb": "no",
        "nob_Latn": "no",
        "ger": "de",
        "yue": "zh",
        "prs_Arab": "fa",
    }
    labels |= {"EN": "en", "arb_Arab": "ar", "quc": "quc", "xyz_Latn": "xyz", "als": "als", "als_Latn": "sq"}
    assert {label: language_of(label) for label in labels} == labels
    assert language_of(None) == "en"


def test_the_asset() -> None:
    languages = shipped()
    assert len(languages) >= 70
    for code, language in languages.items():
        assert len(language.stop_words) <= MAX_STOP_WORDS
        assert len(language.stop_words) >= 8 or code in ("th", "km", "lo", "my"), code
        for name, limits in language.limits.items():
            build(name, dict(limits))  # every limit is one, and in its range


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("text.gopher_quality", {"by_language": {"de": {"max_word_char": 9}}}, r"by_language\.de: .*'max_word_char'"),
        ("text.gopher_quality", {"by_language": {"de": {"languages": 9}}}, r"no limit 'languages'"),
        ("text.fineweb_quality", {"by_language": {"de": {"allow_unpunctuated": 1}}}, r"no limit 'allow_unpunctuated'"),
        ("text.fineweb_quality", {"by_language": {"de": {"max_short_line_ratio": 2}}}, "max_short_line_ratio"),
        ("text.gopher_quality", {"stop_words": {"de": [f"w{k}" for k in range(57)]}}, r"stop_words\.de: 57 words"),
    ],
)
def test_mistakes_are_named(name: str, params: dict, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        build(name, params)
