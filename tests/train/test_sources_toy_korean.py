"""The generated corpus: its Korean morphology, its determinism, and splits that share nothing."""

import pickle
import re
from collections import Counter
from functools import cache

import pytest

from flaxformers_edu.errors import InputError
from train.sources import ToyKorean
from train.sources import toy_lexicon as lexicon
from train.sources.hangul import Predicate, final_of, particle, with_final
from train.sources.toy_korean import toy_korean


@cache
def pairs(split: str = "train", size: int = 6000, seed: int = 0) -> list[tuple[str, str]]:
    return [(pair["source"], pair["target"]) for pair in toy_korean(split, size=size, seed=seed)]


@pytest.mark.parametrize(
    "word, kind, expected",
    [
        ("책", "은/는", "책은"), ("의사", "은/는", "의사는"), ("책", "이/가", "책이"),
        ("개", "이/가", "개가"), ("물", "을/를", "물을"), ("사과", "을/를", "사과를"),
        ("민준", "와/과", "민준과"), ("지수", "와/과", "지수와"), ("펜", "으로/로", "펜으로"),
        ("버스", "으로/로", "버스로"), ("지하철", "으로/로", "지하철로"),
        ("학생", "이에요/예요", "학생이에요"), ("의사", "이에요/예요", "의사예요"),
        ("저", "이/가", "제가"), ("누구", "이/가", "누가"), ("저", "은/는", "저는"),
    ],
)  # fmt: skip
def test_particles(word: str, kind: str, expected: str) -> None:
    assert particle(word, kind) == expected


def test_finals() -> None:
    assert [final_of(word) for word in ("가", "강", "닭", "물")] == ["", "ㅇ", "ㄺ", "ㄹ"]
    assert with_final("가", "ㅆ") == "갔"
    with pytest.raises(ValueError, match="does not end in a Hangul syllable"):
        final_of("cat")


# stem, infinitive: present, past, future, conditional, present and past before a noun
CONJUGATIONS = {
    ("가", "가"): "가요 갔어요 갈_거예요 가면 가는 간",
    ("먹", "먹어"): "먹어요 먹었어요 먹을_거예요 먹으면 먹는 먹은",
    ("듣", "들어"): "들어요 들었어요 들을_거예요 들으면 듣는 들은",
    ("걷", "걸어"): "걸어요 걸었어요 걸을_거예요 걸으면 걷는 걸은",
    ("닫", "닫아"): "닫아요 닫았어요 닫을_거예요 닫으면 닫는 닫은",
    ("돕", "도와"): "도와요 도왔어요 도울_거예요 도우면 돕는 도운",
    ("입", "입어"): "입어요 입었어요 입을_거예요 입으면 입는 입은",
    ("짓", "지어"): "지어요 지었어요 지을_거예요 지으면 짓는 지은",
    ("씻", "씻어"): "씻어요 씻었어요 씻을_거예요 씻으면 씻는 씻은",
    ("열", "열어"): "열어요 열었어요 열_거예요 열면 여는 연",
    ("만들", "만들어"): "만들어요 만들었어요 만들_거예요 만들면 만드는 만든",
    ("쓰", "써"): "써요 썼어요 쓸_거예요 쓰면 쓰는 쓴",
    ("부르", "불러"): "불러요 불렀어요 부를_거예요 부르면 부르는 부른",
    ("마시", "마셔"): "마셔요 마셨어요 마실_거예요 마시면 마시는 마신",
    ("공부하", "공부해"): "공부해요 공부했어요 공부할_거예요 공부하면 공부하는 공부한",
}


@pytest.mark.parametrize("forms", CONJUGATIONS, ids=lambda forms: forms[0])
def test_conjugation(forms: tuple[str, str]) -> None:
    verb = Predicate(*forms)
    made = (
        verb.present, verb.past, verb.future, verb.conditional, verb.adnominal, verb.past_adnominal
    )  # fmt: skip
    assert " ".join(word.replace(" ", "_") for word in made) == CONJUGATIONS[forms]


def test_adjectives_before_nouns_and_compound_endings() -> None:
    before = {a.english: a.before_noun for a in lexicon.ADJECTIVES}
    expected = {
        "big": "큰", "small": "작은", "long": "긴", "cute": "귀여운", "red": "빨간",
        "white": "하얀",
        "delicious": "맛있는", "fast": "빠른", "good": "좋은", "sweet": "단", "kind": "친절한",
    }  # fmt: skip
    assert {english: before[english] for english in expected} == expected
    eat, hear = Predicate("먹", "먹어"), Predicate("듣", "들어")
    assert eat.negative().past == "먹지 않았어요"
    assert eat.progressive(honorific=True).present == "먹고 계세요"
    assert hear.honorific().present == "들으세요"
    assert hear.honorific().past == "들으셨어요"
    assert Predicate("만들", "만들어").honorific().future == "만드실 거예요"
    assert eat.possible().present == "먹을 수 있어요"
    assert hear.necessary().past == "들어야 했어요"
    assert eat.wished(by_other=True).present == "먹고 싶어 해요"
    assert eat.wished(by_other=False).negative().present == "먹고 싶지 않아요"


def test_same_arguments_same_pairs_and_random_access() -> None:
    split = toy_korean("train", size=100, seed=5)
    assert [split[i] for i in (7, 99, -1)] == [list(split)[i] for i in (7, 99, 99)]
    assert toy_korean("train", size=5000, seed=5)[7] == split[7]
    assert toy_korean("train", size=100, seed=6)[7] != split[7]
    assert pickle.loads(pickle.dumps(split))[3] == split[3]
    assert ToyKorean(size=100, seed=5).load("train")[7] == split[7]
    assert len(ToyKorean(held_out_size=30).load("test")) == 30
    with pytest.raises(IndexError):
        split[100]


def test_splits_share_no_sentence_whatever_the_seed() -> None:
    sentences = {
        split: {english for seed in (0, 1) for english, _ in pairs(split, 1500, seed)}
        for split in ("train", "validation", "test")
    }
    assert not sentences["train"] & sentences["validation"]
    assert not sentences["train"] & sentences["test"]
    assert not sentences["validation"] & sentences["test"]


def test_sentences_repeat_rarely() -> None:
    assert len({english for english, _ in pairs()}) > 0.97 * len(pairs())


def test_the_same_english_has_the_same_korean() -> None:
    translation: dict[str, str] = {}
    for seed in range(4):
        for english, korean in pairs(seed=seed):
            assert translation.setdefault(english, korean) == korean, english


def test_vocabulary_and_lengths() -> None:
    words = Counter(w for english, _ in pairs() for w in re.findall(r"[a-z']+", english.lower()))
    assert len(words) > 600
    lemmas = {verb.base for verb in lexicon.VERBS} | {a.english for a in lexicon.ADJECTIVES}
    for group in (
        lexicon.PEOPLE, lexicon.RELATIVES, lexicon.ANIMALS, lexicon.FRUITS, lexicon.DISHES,
        lexicon.DRINKS, lexicon.READINGS, lexicon.THINGS, lexicon.CLOTHES, lexicon.VEHICLES,
    ):  # fmt: skip
        lemmas |= {noun.singular for noun in group}
    used = " ".join(english.lower() for english, _ in pairs())
    assert len([lemma for lemma in lemmas if lemma in used]) >= 300
    lengths = Counter(len(english.split()) for english, _ in pairs())
    assert set(lengths) == set(range(3, 15))
    assert max(lengths.values()) < 0.25 * len(pairs())


def test_korean_is_well_formed() -> None:
    for english, korean in pairs():
        assert re.fullmatch(r"[가-힣]+( [가-힣]+)*[.?]", korean), (english, korean)
        assert english[-1] == korean[-1]
        assert re.search(r"(요|세요)[.?]$", korean), korean
        assert english[0].isupper()
        assert "  " not in english


def test_particles_of_the_corpus_agree_with_final_consonants() -> None:
    nouns = {name[1] for name in lexicon.NAMES} | {place[2] for place in lexicon.PLACES}
    for group in (lexicon.PEOPLE, lexicon.ANIMALS, lexicon.FRUITS, lexicon.THINGS, lexicon.DRINKS):
        nouns |= {noun.korean for noun in group}
    wrong = 0
    checked = 0
    for _, korean in pairs():
        for word in korean[:-1].split():
            for consonant, vowel in (("은", "는"), ("을", "를"), ("과", "와")):
                if word[:-1] in nouns and word[-1] in (consonant, vowel):
                    checked += 1
                    wrong += word[-1] != (consonant if final_of(word[:-1]) else vowel)
    assert checked > 3000
    assert wrong == 0


TRANSLATIONS = {
    r"^[A-Z]\w+ and [A-Z]\w+ \w+ed\b": r"^[가-힣]+(와|과) [가-힣]+(은|는) ",
    r"^There is no ": r"에 .*(이|가) 없어요\.$",
    r"^How many .*are there": r"에 .*(이|가) 몇 \w+ 있어요\?$",
    r"^Who (?!do|did|does|will)": r"^누가 ",
    r"^Please (?!do not|don't)": r" 주세요\.$",
    r"^Please (do not|don't)": r"지 마세요\.$",
    r"because": r"기 때문에 ",
    r" must ": r"야 (해|하)",
    r" two (horses|frogs|tigers|cats|dogs|birds|cows)\b": r" 두 마리",
    r" (two|three) (books|magazines|notebooks|textbooks)\b": r" (두|세) 권",
    r" five (students|doctors|singers|writers|bakers)\b": r" 다섯 명",
    r" \w+er than ": r"보다 더 ",
    r"^(My|Our) (mother|father) \w+ed\b(?!.* (because|and|but|when|if|who|that) )": r"셨어요\.$",
    r" yesterday\.$": r"어제 ",
    r"^Yesterday ": r"^어제",
}


@pytest.mark.parametrize("english_pattern", TRANSLATIONS)
def test_constructions(english_pattern: str) -> None:
    found = [pair for seed in range(4) for pair in pairs(seed=seed)
             if re.search(english_pattern, pair[0])]  # fmt: skip
    assert found
    for english, korean in found:
        assert re.search(TRANSLATIONS[english_pattern], korean), (english, korean)


def test_errors() -> None:
    with pytest.raises(InputError, match="did you mean 'train'"):
        toy_korean("trian")
    with pytest.raises(InputError, match="size must be at least 1, got 0"):
        toy_korean("train", size=0)
