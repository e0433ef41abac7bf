"""Phrases and clauses of the generated corpus, built in English and Korean side by side.

Whatever is drawn at random shows in the English, so that an English sentence has one translation.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from train.sources import toy_lexicon as lexicon
from train.sources.hangul import Predicate, particle
from train.sources.toy_lexicon import Adjective, Noun, Verb


@dataclass(frozen=True)
class NounPhrase:
    """A subject or object in both languages."""

    english: str
    korean: str
    plural: bool = False
    person: int = 3
    definite: bool = True
    respected: bool = False
    is_person: bool = False
    objective: str = ""
    """English as an object, where it differs: me."""
    pronoun: str = ""
    """The pronoun it is, or the pronoun that may stand for it."""

    @property
    def as_object(self) -> str:
        """English after a verb or preposition."""
        return self.objective or self.english

    def subject(self, *, topic: bool) -> str:
        """Korean with 은/는 where it is a known topic, else with 이/가."""
        return particle(self.korean, "은/는" if topic and self.definite else "이/가")


def article(words: str) -> str:
    """Words behind "a" or "an"."""
    vowel = words[0] in "aeiou" and not words.startswith("uni")
    return f"{'an' if vowel or words.startswith('honest') else 'a'} {words}"


NAMES = tuple(
    NounPhrase(english, korean, is_person=True, pronoun=pronoun)
    for english, korean, pronoun in lexicon.NAMES
)
PRONOUNS = {
    english: NounPhrase(
        english, korean, plural, person, is_person=True, objective=objective, pronoun=english
    )
    for english, (plural, person, korean, objective, _, _) in lexicon.PRONOUNS.items()
}
YOU = NounPhrase("you", "", plural=True, person=2, is_person=True, pronoun="you")

_ALL = {
    "person": lexicon.PEOPLE,
    "relative": lexicon.RELATIVES,
    "animal": lexicon.ANIMALS,
    "food": lexicon.FRUITS,
    "dish": lexicon.DISHES,
    "drink": lexicon.DRINKS,
    "reading": lexicon.READINGS,
    "show": lexicon.SHOWS,
    "song": lexicon.SONGS,
    "thing": lexicon.THINGS,
    "instrument": lexicon.INSTRUMENTS,
    "clothes": lexicon.CLOTHES,
    "hat": lexicon.HATS,
    "shoes": lexicon.SHOES,
    "vehicle": lexicon.VEHICLES,
    "openable": lexicon.OPENABLE,
    "room": lexicon.ROOMS,
    "building": lexicon.BUILDINGS,
}


def _some(kind: str, words: str) -> tuple[Noun, ...]:
    return tuple(noun for noun in _ALL[kind] if noun.singular in words.split(","))


# Narrower kinds of objects that verbs take.
OBJECTS = _ALL | {
    "tree": _some("thing", "tree"),
    "flower": _some("thing", "flower,rose"),
    "toy": _some("thing", "toy,doll,chair,desk"),
    "food_dish": _some("food", "sandwich,cookie,hamburger"),
    "bowl": _some("thing", "bowl,cup,spoon"),
    "mail": _some("reading", "letter,email"),
    "gift": _some("thing", "gift"),
    "photo": _some("thing", "photo"),
    "story": _some("reading", "story"),
    "horse": _some("animal", "horse"),
    "drivable": _some("vehicle", "car,bus,taxi,truck"),
    "machine": _some("thing", "computer,radio,camera,clock"),
    "ball": _some("thing", "ball"),
    "chair": _some("thing", "chair,table,desk"),
    "building_house": _some("building", "house,castle,school,hospital"),
    "doll": _some("thing", "doll,pillow"),
    "box": _some("thing", "box,bag,chair,basket"),
    "meat": _some("dish", "meat,rice,spaghetti"),
    "wall": (Noun("wall", "walls", "벽", "개", "wall"), *lexicon.CHAIRS),
    "homework": (Noun("homework", "homework", "숙제", "개", "homework"),),
}
MASS = frozenset({"dish", "drink", "homework"})
# Kinds narrower than a noun's own, for adjectives.
TAGS = {
    "adult": "man,woman,doctor,nurse,singer,actor,farmer,soldier,lawyer,artist,engineer",
    "spicy": "kimchi,ramen,soup",
    "sweet": "apple,orange,banana,peach,strawberry,melon,tangerine,cake,chocolate,ice cream,cookie",
    "hot_drink": "coffee,tea,water,milk",
    "soup": "soup,ramen",
    "bridge": "bridge",
    "reading_bound": "book,magazine,textbook,dictionary,novel,notebook",
}
_TAGS_OF: dict[str, set[str]] = {}
for _tag, _words in TAGS.items():
    for _word in _words.split(","):
        _TAGS_OF.setdefault(_word, set()).add(_tag)


def adjectives_of(noun: Noun, candidates: Sequence[Adjective]) -> list[Adjective]:
    """The adjectives that may describe a noun."""
    kinds = {noun.kind} | _TAGS_OF.get(noun.singular, set())
    return [adjective for adjective in candidates if kinds.intersection(adjective.describes)]


_ADJECTIVES_BEFORE: dict[tuple[str, str], list[Adjective]] = {}


def _adjective_before(rng: random.Random, noun: Noun) -> Adjective | None:
    key = (noun.kind, noun.singular)
    if key not in _ADJECTIVES_BEFORE:
        candidates = (*lexicon.ADJECTIVES, *lexicon.ATTRIBUTES)
        _ADJECTIVES_BEFORE[key] = adjectives_of(noun, candidates)
    found = _ADJECTIVES_BEFORE[key]
    return rng.choice(found) if found else None


def owner(rng: random.Random, noun: Noun, avoid: str) -> tuple[str, str]:
    """A possessive in both languages; never of the name `avoid`."""
    if rng.random() < 0.4:
        name = rng.choice([name for name in NAMES if name.english != avoid])
        return f"{name.english}'s", f"{name.korean}의"
    _, _, _, _, english, korean = rng.choice(list(lexicon.PRONOUNS.values()))
    if english == "my" and noun.singular in lexicon.OWNED_TOGETHER:
        korean = "우리"
    return english, korean


def noun_phrase(
    rng: random.Random,
    noun: Noun,
    *,
    avoid: str = "",
    adjective: float = 0.2,
    plain: bool = False,
    singular: bool = False,
) -> NounPhrase:
    """A noun with a determiner or number, perhaps an adjective. `plain`: "the" only."""
    chosen = _adjective_before(rng, noun) if rng.random() < adjective else None
    before_en = f"{chosen.english} " if chosen else ""
    before_ko = f"{chosen.before_noun} " if chosen else ""
    is_person = noun.kind == "person"
    one, many = before_en + noun.singular, before_en + noun.plural
    korean = before_ko + noun.korean

    def phrase(english: str, korean: str, **rest: Any) -> NounPhrase:
        return NounPhrase(english, korean, is_person=is_person, respected=noun.respected, **rest)

    if noun in lexicon.RELATIVES:
        english_owner, korean_owner = owner(rng, noun, avoid)
        many_relatives = noun.singular in ("friend", "classmate", "cousin") and rng.random() < 0.3
        if many_relatives and not singular:
            return phrase(f"{english_owner} {many}", f"{korean_owner} {korean}들", plural=True)
        return phrase(f"{english_owner} {one}", f"{korean_owner} {korean}")
    if noun.kind in MASS:
        if noun.kind == "homework":
            english_owner, korean_owner = owner(rng, noun, avoid)
            return phrase(f"{english_owner} {one}", f"{korean_owner} {korean}")
        if noun.kind == "drink" and not plain and rng.random() < 0.35:
            unit = "cup" if noun.singular in ("coffee", "tea") else "glass"
            number, korean_number = rng.choice(lexicon.NUMBERS[:5])
            units = unit if number == "one" else {"cup": "cups", "glass": "glasses"}[unit]
            return phrase(
                f"{number} {units} of {one}", f"{korean} {korean_number} 잔", definite=False
            )
        return phrase(f"the {one}", korean) if plain else phrase(one, korean)
    if noun.kind == "shoes":
        if not plain and not singular and rng.random() < 0.25:
            number, korean_number = rng.choice(lexicon.NUMBERS[1:5])
            return phrase(
                f"{number} pairs of {many}", f"{korean} {korean_number} 켤레",
                plural=True, definite=False,
            )  # fmt: skip
        if plain:
            return phrase(f"the {many}", korean, plural=True)
        english_owner, korean_owner = owner(rng, noun, avoid)
        return phrase(f"{english_owner} {many}", f"{korean_owner} {korean}", plural=True)
    if plain:
        return phrase(f"the {one}", korean)
    draw = rng.random()
    if draw < 0.26:
        return phrase(article(one), korean, definite=False)
    if draw < 0.46:
        return phrase(f"the {one}", korean)
    if draw < 0.54:
        return phrase(f"this {one}", f"이 {korean}")
    if draw < 0.62:
        return phrase(f"that {one}", f"그 {korean}")
    if not is_person and draw < 0.76:
        english_owner, korean_owner = owner(rng, noun, avoid)
        return phrase(f"{english_owner} {one}", f"{korean_owner} {korean}")
    if singular:
        return phrase(f"the {one}", korean)
    if draw < 0.88:
        number, korean_number = rng.choice(lexicon.NUMBERS[:10])
        # People spoken of with respect are counted with another word.
        counter = "분" if noun.respected else noun.counter
        return phrase(
            f"{number} {one if number == 'one' else many}",
            f"{korean} {korean_number} {counter}",
            plural=number != "one",
            definite=False,
        )
    if draw < 0.94:
        near, korean_near = rng.choice((("these", "이"), ("those", "그")))
        return phrase(f"{near} {many}", f"{korean_near} {korean}들", plural=True)
    return phrase(f"the {many}" if is_person else many, korean + "들" * is_person, plural=True)


def random_subject(rng: random.Random) -> NounPhrase:
    """Someone who acts."""
    draw = rng.random()
    if draw < 0.34:
        return rng.choice(NAMES)
    if draw < 0.56:
        return rng.choice(list(PRONOUNS.values()))
    if draw < 0.62:
        first, second = rng.sample(NAMES, 2)
        return NounPhrase(
            f"{first.english} and {second.english}",
            f"{particle(first.korean, '와/과')} {second.korean}",
            plural=True,
            is_person=True,
        )
    if draw < 0.78:
        return noun_phrase(rng, rng.choice(lexicon.RELATIVES))
    return noun_phrase(rng, rng.choice(lexicon.PEOPLE))


@dataclass(frozen=True)
class Clause:
    """A subject and what is said of it, before tense has its endings."""

    subject: NounPhrase
    verb: Verb | None
    """None for "be"."""
    korean: Predicate
    tense: str = "present"
    helper: str = ""
    """"" or progressive, can, must, want."""
    negation: str = ""
    """"" or full ("not") or short ("n't")."""
    complement: str = ""
    """English right behind the verb: object, manner, place, ..."""
    middle: tuple[str, ...] = ()
    """Korean between the subject and the predicate."""
    time: tuple[str, str] = ("", "")
    frequency: tuple[str, str] = ("", "")
    front: bool = False
    """Whether the time comes first."""
    contractible: bool = field(default=True)

    def operator(self, *, question: bool = False) -> tuple[str, str]:
        """English auxiliary ("" if none) and the rest of the verb group."""
        subject, past = self.subject, self.tense == "past"
        third = subject.person == 3 and not subject.plural
        if self.verb is None or self.helper == "progressive":
            ing = self.verb.ing if self.verb else ""
            if self.tense == "future":
                return "will", f"be {ing}".strip()
            if subject.english == "I":
                return ("was" if past else "am"), ing
            singular = third
            return (("was" if singular else "were") if past else "is" if singular else "are"), ing
        base = self.verb.base
        if self.helper in ("can", "must"):
            return self.helper, base
        past_form, third_form = self.verb.past, self.verb.third
        if self.helper == "want":
            base, past_form, third_form = f"want to {base}", f"wanted to {base}", f"wants to {base}"
        if self.tense == "future":
            return "will", base
        if self.negation or question:
            return ("did" if past else "does" if third else "do"), base
        return "", past_form if past else third_form if third else base

    def english(self, *, subject: bool = True, time: bool = True) -> str:
        """The declarative clause, without a full stop."""
        operator, rest = self.operator()
        if self.negation:
            operator = negated(operator, self.negation)
        words = [operator, self.frequency[0], rest, self.complement]
        if subject:
            words.insert(0, self.subject.english)
        if time and self.time[0]:
            words = [self.time[0], *words] if self.front else [*words, self.time[0]]
        return " ".join(filter(None, words))

    def english_question(self, asked: str = "") -> str:
        """The clause as a question, behind a question word if there is one."""
        operator, rest = self.operator(question=True)
        words = [asked, operator, self.subject.english, self.frequency[0], rest]
        return " ".join(filter(None, [*words, self.complement, self.time[0]])) + "?"

    def korean_words(self, ending: str, *, topic: bool = True, subject: bool = True) -> str:
        """The clause in Korean, its predicate already with the ending."""
        who = [self.subject.subject(topic=topic)] if subject and self.subject.korean else []
        when = [self.time[1]]
        head = when + who if self.front else who + when
        return " ".join(filter(None, [*head, self.frequency[1], *self.middle, ending]))

    def polite(self, **options: bool) -> str:
        """The clause in Korean as a sentence, without a full stop."""
        korean = self.korean
        endings = {"past": korean.past, "future": korean.future, "present": korean.present}
        return self.korean_words(endings[self.tense], **options)

    def polite_now(self) -> str:
        """The clause in Korean with the present ending, whatever its tense: a proposal."""
        return self.korean_words(self.korean.present)

    def connected(self, ending: str, **options: bool) -> str:
        """The clause in Korean before another; ending: 지만, 고, 기 때문에, 면 or 때."""
        korean, past = self.korean, self.tense == "past"
        if ending == "면":
            return self.korean_words(korean.conditional, **options)
        if ending == "때":
            word = korean.past_stem + "을 때" if past else korean.prospective + " 때"
            return self.korean_words(word, **options)
        return self.korean_words((korean.past_stem if past else korean.stem) + ending, **options)


def negated(operator: str, negation: str) -> str:
    """The auxiliary with "not", in full or contracted."""
    if negation == "full" or operator == "am":
        return "cannot" if operator == "can" else f"{operator} not"
    return {"will": "won't", "can": "can't"}.get(operator, operator + "n't")


def not_(predicate: Predicate) -> Predicate:
    """The predicate behind 안."""
    polite = f"안 {predicate.polite}" if predicate.polite else ""
    return replace(
        predicate,
        stem=f"안 {predicate.stem}",
        infinitive=f"안 {predicate.infinitive}",
        polite=polite,
    )


def conjugated(
    verb: Verb, helper: str, negation: str, *, respected: bool, by_other: bool
) -> Predicate:
    """The Korean predicate of an English verb group, all but its tense."""
    own = verb.respectful if respected else None
    plain = own or verb.korean
    polite = own or (verb.korean.honorific() if respected else verb.korean)
    if verb.base == "know" and negation and not helper:
        unknown = Predicate("모르", "몰라")
        return unknown.honorific() if respected else unknown
    if helper == "can":
        return polite.impossible() if negation else polite.possible()
    if helper == "must":
        return polite.necessary()
    if helper == "want":
        wished = plain.wished(by_other=by_other)
        if negation:
            wished = wished.negative()
        return wished.honorific() if respected else wished
    if negation == "short" and "n" not in verb.manners:
        done = plain.progressive(honorific=respected) if helper else polite
        return not_(done)
    if helper == "progressive":
        done = plain.progressive(honorific=respected)
        return done.negative() if negation else done
    if negation:
        done = plain.negative()
        return done.honorific() if respected else done
    return polite
