# Lists of words read better as text.
# ruff: noqa: SIM905
"""A generated English-Korean parallel corpus, whose translation must reorder every sentence.

English is subject-verb-object with prepositions; Korean is subject-time-place-object-verb with
particles that agree with the final consonant, a verb that carries tense, negation, ability, wish,
duty and respect for its subject, numbers behind the noun with a counter, and clauses that come
before what they modify. The same English always has the same Korean.

Example i of a split is a pure function of (seed, split, i). A sentence belongs to the split that a
hash of its English says, so that no two splits share one, whatever the sizes and seeds.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from flaxformers_edu.errors import InputError
from train.sources import toy_lexicon as lexicon
from train.sources.base import check_split, split_of
from train.sources.hangul import Predicate, final_of, particle
from train.sources.toy_clauses import (
    NAMES,
    OBJECTS,
    PRONOUNS,
    YOU,
    Clause,
    NounPhrase,
    adjectives_of,
    article,
    conjugated,
    negated,
    not_,
    noun_phrase,
    random_subject,
)
from train.sources.toy_lexicon import Noun, Verb

Random = random.Random
Pair = tuple[str, str]

MIN_WORDS, MAX_WORDS = 3, 14
HELD_OUT_PERCENT = 10
MAX_TRIES = 10_000

HAVE = Verb("have", "had", Predicate("있", "있어"), "animal+thing+vehicle+relative", "s", None, "")
NEED = Verb("need", "needed", Predicate("필요하", "필요해", is_verb=False),
            "thing+vehicle+clothes+reading", "sn", None, "")  # fmt: skip
ANCHORS = tuple(
    noun
    for noun in (*lexicon.THINGS, *lexicon.OPENABLE, *lexicon.BUILDINGS, *lexicon.VEHICLES)
    if noun.singular in "table desk chair box tree door window mirror house car bus".split()
)
SMALL_THINGS = tuple(n for n in lexicon.THINGS if n.singular not in ("table", "desk", "tree"))
REGIONS = tuple(p for p in lexicon.PLACES if not p[1].startswith("the") and p[0] == "in")
_REGION_NAMES = frozenset(korean for _, _, korean in REGIONS)
BY_VEHICLE = frozenset({"go", "come", "return", "travel"})
QUESTIONED = tuple(v for v in lexicon.VERBS if "s" not in v.manners and v.takes)
OF_OBJECTS = tuple(
    v
    for v in lexicon.VERBS
    if v.base in "buy sell write borrow find lose make choose see draw use fix bring".split()
)


def _object(rng: Random, verb: Verb, subject: NounPhrase) -> tuple[str, NounPhrase]:
    kind = rng.choice(verb.takes.split("+"))
    if kind == "name":
        pool = [n for n in NAMES if n.english != subject.english]
        if rng.random() < 0.3 and not subject.pronoun and not subject.plural:
            pool = list(PRONOUNS.values())
        return kind, rng.choice(pool)
    if kind in ("study", "sport"):
        pairs = lexicon.SUBJECTS_OF_STUDY if kind == "study" else lexicon.SPORTS
        english, korean = rng.choice(pairs)
        return kind, NounPhrase(english, korean)
    noun = rng.choice(OBJECTS[kind])
    return kind, noun_phrase(rng, noun, avoid=subject.english)


def _time(rng: Random, tense: str, helper: str) -> tuple[str, str]:
    if helper == "progressive":
        return rng.choice(lexicon.TIMES_OF["now" if tense == "present" else "past"])
    if helper:
        return rng.choice(lexicon.TIMES_OF["future"])
    if tense != "present" and rng.random() < 0.35:
        return rng.choice(lexicon.TIMES_OF["any"])
    return rng.choice(lexicon.TIMES_OF[tense])


def action(
    rng: Random,
    *,
    subject: NounPhrase | None = None,
    verb: Verb | None = None,
    tense: str = "",
    helper: str | None = None,
    negation: str | None = None,
    adjuncts: int = 2,
    timed: bool = True,
    with_object: bool = True,
) -> Clause:
    """A clause with a verb of doing; what is not given is drawn."""
    verb = verb or rng.choice(lexicon.VERBS)
    subject = subject or random_subject(rng)
    flags = verb.manners
    tense = tense or rng.choices(("past", "present", "future"), (42, 33, 25))[0]
    if helper is None:
        helper = rng.choices(("", "progressive", "can", "must", "want"), (70, 12, 7, 6, 5))[0]
    stative = "s" in flags or verb.base == "live"
    if stative or (helper == "progressive" and verb.base in ("arrive", "lose", "forget")):
        helper = ""
    if stative and tense == "future":
        tense = "past"
    if helper == "progressive" and tense == "future":
        tense = "present"
    if helper in ("can", "must", "want"):
        tense = "present"
    if negation is None:
        negation = rng.choices(("", "full", "short"), (80, 10, 10))[0]
    if helper == "must":
        negation = ""
    third = subject.person == 3 and not subject.plural
    if verb.base == "read" and not (helper or negation or third or tense == "future"):
        helper, tense = "progressive", "present"  # "they read" would tell no tense

    english: list[str] = []
    time_place: list[str] = []
    behind: list[str] = []
    kind = ""
    if verb.takes in ("goal", "arrival", "home"):
        preposition, place, korean_place = rng.choice(
            REGIONS if verb.takes == "home" else lexicon.PLACES
        )
        if verb.takes == "goal":
            english.append(place if place == "home" else f"to {place}")
        else:
            english.append(f"{preposition} {place}")
        behind.append(korean_place + "에")
    elif verb.takes and with_object:
        kind, thing = _object(rng, verb, subject)
        english += [verb.preposition, thing.as_object]
        if kind == "instrument":
            english[-1] = thing.as_object
        behind.append(particle(thing.korean, "을/를"))
    else:
        english.append("")

    alone = False
    if adjuncts and not negation and rng.random() < 0.3:
        keys = [key for key in flags if key in lexicon.MANNERS]
        keys = [key for key in keys if key != "a" or not subject.plural]
        if keys:
            key = rng.choice(keys)
            manner, korean_manner = rng.choice(lexicon.MANNERS[key])
            english.append(manner)
            alone = key == "a"
            if alone:
                time_place.append(korean_manner)
            else:
                behind.append(korean_manner)
            adjuncts -= 1
    receiver = ""
    if adjuncts and "r" in flags and rng.random() < 0.65:
        pool = [name for name in NAMES if name.english != subject.english]
        other = (
            rng.choice(pool)
            if rng.random() < 0.6
            else noun_phrase(rng, rng.choice(lexicon.RELATIVES), avoid=subject.english, adjective=0)
        )
        english.append(f"to {other.as_object}")
        receiver = other.korean + ("께" if other.respected else "에게")
        adjuncts -= 1
    if adjuncts and "p" in flags and rng.random() < 0.5:
        preposition, place, korean_place = rng.choice(lexicon.PLACES)
        english.append(f"{preposition} {place}")
        time_place.append(korean_place + "에서")
        adjuncts -= 1
    if adjuncts and "j" in flags and not subject.plural and not alone and rng.random() < 0.3:
        pool = [name for name in NAMES if name.english != subject.english]
        other = rng.choice(pool)
        english.append(f"with {other.english}")
        time_place.insert(0, particle(other.korean, "와/과") + " 함께")
        adjuncts -= 1
    if adjuncts and verb.base in BY_VEHICLE and rng.random() < 0.35:
        # Nobody flies to the kitchen.
        far = behind[0][:-1] in _REGION_NAMES if behind else False
        vehicle, korean_vehicle = rng.choice(
            [means for means in lexicon.MEANS if far or means[0] != "airplane"]
        )
        english.append(f"by {vehicle}")
        time_place.append(particle(korean_vehicle, "으로/로"))
    if receiver:
        time_place.append(receiver)

    time = frequency = ("", "")
    if timed and not (stative and tense == "present") and rng.random() < 0.5:
        time = _time(rng, tense, helper)
    elif tense == "present" and not (helper or negation or stative) and rng.random() < 0.4:
        frequency = rng.choice(lexicon.FREQUENCIES)
    return Clause(
        subject,
        verb,
        conjugated(
            verb,
            helper,
            negation,
            respected=subject.respected,
            by_other=subject.person == 3,
        ),
        tense,
        helper,
        negation,
        " ".join(filter(None, english)),
        (*time_place, *behind),
        time,
        frequency,
        bool(time[0]) and rng.random() < 0.25,
    )


def _be(
    subject: NounPhrase,
    korean: Predicate,
    complement: str,
    middle: tuple[str, ...] = (),
    **rest: Any,
) -> Clause:
    return Clause(subject, None, korean, complement=complement, middle=middle, **rest)


def quality(
    rng: Random,
    *,
    subject: NounPhrase | None = None,
    tense: str = "",
    negation: str | None = None,
) -> Clause:
    """A clause that describes with an adjective: of people, or of things where none is given."""
    tense = tense or rng.choice(("past", "present"))
    if subject is None and rng.random() < 0.5:
        kinds = "animal food dish clothes vehicle reading show room thing building"
        kind = rng.choice(kinds.split())
        noun = rng.choice(OBJECTS[kind])
        found = adjectives_of(noun, lexicon.ADJECTIVES)
        if found:
            adjective = rng.choice(found)
            subject = noun_phrase(rng, noun, adjective=0, plain=noun.kind in ("dish", "room"))
            return _described(rng, subject, adjective, tense, negation)
    subject = subject or random_subject(rng)
    adjective = rng.choice([a for a in lexicon.ADJECTIVES if "person" in a.describes])
    return _described(rng, subject, adjective, tense, negation)


def _described(
    rng: Random,
    subject: NounPhrase,
    adjective: lexicon.Adjective,
    tense: str,
    negation: str | None,
) -> Clause:
    if negation is None:
        negation = rng.choices(("", "full", "short"), (70, 15, 15))[0]
    korean = adjective.korean
    degree = ("", "")
    if negation:
        short = (
            negation == "short"
            and not korean.stem.endswith(("하", "있"))
            and (len(korean.stem) <= 2 and subject.english != "I")
        )
        polite = korean.honorific() if subject.respected else korean
        if short:
            korean = not_(polite)
        else:
            korean = korean.negative()
            korean = korean.honorific() if subject.respected else korean
    else:
        korean = korean.honorific() if subject.respected else korean
        if rng.random() < 0.4:
            degree = rng.choice(lexicon.DEGREES)
    complement = f"{degree[0]} {adjective.english}".strip()
    subject = replace(subject, definite=True)  # what is described is the topic
    return _be(subject, korean, complement, (degree[1],), tense=tense, negation=negation)


def profession(rng: Random, *, negation: str | None = None) -> Clause:
    """A clause that says what someone is."""
    subject = random_subject(rng)
    while subject.english.split()[0] in _COUNTED:
        subject = random_subject(rng)
    noun = rng.choice([n for n in lexicon.PEOPLE if n.singular not in _PLAIN_PEOPLE])
    adjective = rng.choice([a for a in lexicon.ADJECTIVES if "person" in a.describes])
    adjective_en = adjective_ko = ""
    if rng.random() < 0.35:
        adjective_en, adjective_ko = adjective.english + " ", adjective.before_noun + " "
    one = adjective_en + (noun.plural if subject.plural else noun.singular)
    korean = adjective_ko + noun.korean
    if negation is None:
        negation = rng.choices(("", "full", "short"), (75, 13, 12))[0]
    if negation:
        start = particle(korean, "이/가") + " 아니"
        predicate = Predicate(start, start + "어", start + "에요", is_verb=False)
        if subject.respected:
            predicate = predicate.honorific()
    else:
        root = korean + ("이" if final_of(korean) or not subject.respected else "")
        predicate = Predicate(root + "시", root + "셔", root + "세요", is_verb=False)
        if not subject.respected:
            predicate = Predicate(
                root,
                korean + ("이어" if final_of(korean) else "여"),
                particle(korean, "이에요/예요"),
                is_verb=False,
            )
    return _be(
        subject,
        predicate,
        one if subject.plural else article(one),
        tense=rng.choice(("present", "present", "past")),
        negation=negation,
    )


_PLAIN_PEOPLE = frozenset("man woman child boy girl guest neighbor tourist".split())
_COUNTED = frozenset(english for english, _ in lexicon.NUMBERS)


def _whereabouts(rng: Random) -> Pair:
    if rng.random() < 0.5:
        preposition, place, korean = rng.choice(lexicon.PLACES)
        return f"{preposition} {place}", korean
    preposition, korean = rng.choice(lexicon.RELATIONS)
    anchor = rng.choice(ANCHORS)
    return f"{preposition} the {anchor.singular}", f"{anchor.korean} {korean}"


def _existence(rng: Random) -> Pair:
    place, korean_place = _whereabouts(rng)
    past = rng.random() < 0.35
    noun = rng.choice((*lexicon.ANIMALS, *lexicon.PEOPLE, *SMALL_THINGS, *lexicon.READINGS[:6]))
    if noun.respected:
        noun = lexicon.PEOPLE[0]
    draw = rng.random()
    if draw < 0.5:
        number, korean_number = rng.choice(lexicon.NUMBERS[:10])
        one = number == "one"
        thing = f"{number} {noun.singular if one else noun.plural}"
        korean = f"{noun.korean} {korean_number} {noun.counter}"
    else:
        one, thing, korean = True, article(noun.singular), noun.korean
    be = ("was" if one else "were") if past else ("is" if one else "are")
    exists, lacks = ("있었어요", "없었어요") if past else ("있어요", "없어요")
    if draw > 0.85:
        return (
            f"There {be} no {noun.singular} {place}.",
            f"{korean_place}에 {particle(noun.korean, '이/가')} {lacks}.",
        )
    sentence = f"{korean_place}에 {particle(korean, '이/가')} {exists}"
    if rng.random() < 0.25:
        return f"{be.capitalize()} there {thing} {place}?", sentence + "?"
    return f"There {be} {thing} {place}.", sentence + "."


def _location(rng: Random) -> Pair:
    place, korean_place = _whereabouts(rng)
    if rng.random() < 0.5:
        subject = random_subject(rng)
    else:
        noun = rng.choice((*lexicon.ANIMALS, *SMALL_THINGS))
        subject = noun_phrase(rng, noun, singular=True)
    negation = rng.choices(("", "full", "short"), (80, 10, 10))[0]
    stem = "없" if negation else "있"
    korean = Predicate(stem, stem + "어")
    if subject.respected:
        korean = Predicate("계시", "계셔", "계세요")
        korean = not_(korean) if negation else korean
    tense = rng.choice(("past", "present"))
    clause = _be(subject, korean, place, (korean_place + "에",), tense=tense, negation=negation)
    if rng.random() < 0.4:
        clause = replace(clause, time=_time(rng, tense, "progressive"), front=rng.random() < 0.4)
    return _statement_or_question(rng, clause, 0.15)


def _possession(rng: Random) -> Pair:
    verb = rng.choice((HAVE, NEED))
    # A topic, for what is had is the grammatical subject.
    subject = replace(random_subject(rng), definite=True)
    _, thing = _object(rng, replace(verb, takes=verb.takes.replace("+relative", "")), subject)
    negation = rng.choices(("", "full", "short"), (80, 10, 10))[0]
    while negation and thing.english.split()[0] in _COUNTED:
        _, thing = _object(rng, replace(verb, takes="animal"), subject)
    korean = verb.korean
    if verb is HAVE and negation:
        korean = Predicate("없", "없어")
    elif negation:
        korean = korean.negative()
    korean = korean.honorific() if subject.respected else korean
    clause = Clause(
        subject,
        verb,
        korean,
        rng.choice(("past", "present", "present")),
        "",
        negation,
        thing.as_object,
        (particle(thing.korean, "이/가"),),
    )
    return _statement_or_question(rng, clause, 0.2)


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _statement(clause: Clause) -> Pair:
    comma_free = clause.english()
    return _capital(comma_free) + ".", clause.polite() + "."


def _statement_or_question(rng: Random, clause: Clause, chance: float) -> Pair:
    asked = not clause.negation and not clause.front and rng.random() < chance
    if asked and clause.subject.pronoun not in ("I", "we") and clause.subject.definite:
        return _capital(clause.english_question()), clause.polite() + "?"
    return _statement(clause)


def _plain(rng: Random) -> Pair:
    return _statement(action(rng))


def _yes_no(rng: Random) -> Pair:
    subject = YOU if rng.random() < 0.35 else rng.choice((*NAMES, PRONOUNS["he"], PRONOUNS["they"]))
    helper = rng.choice(("", "", "", "progressive", "can", "want"))
    draw = rng.random()
    if draw < 0.75:
        clause = action(rng, subject=subject, negation="", helper=helper)
    else:
        clause = quality(rng, subject=subject, negation="")
    clause = replace(clause, front=False)
    return _capital(clause.english_question()), clause.polite() + "?"


def _asked_of(rng: Random) -> NounPhrase:
    return YOU if rng.random() < 0.25 else rng.choice((*NAMES, *PRONOUNS.values()))


def _what(rng: Random) -> Pair:
    verb = rng.choice([v for v in QUESTIONED if v.base in _ASKS_WHAT])
    clause = replace(
        action(
            rng, subject=_asked_of(rng), verb=verb, negation="", helper=rng.choice(("", "want")),
            adjuncts=1, with_object=False,
        ),
        front=False,
    )  # fmt: skip
    clause = replace(clause, middle=(*clause.middle, "무엇을"))
    manner_last = clause.middle[-2] in _MANNER_WORDS if len(clause.middle) > 1 else False
    if manner_last:
        clause = replace(clause, middle=(*clause.middle[:-2], "무엇을", clause.middle[-2]))
    return clause.english_question("What"), clause.polite() + "?"


_ASKS_WHAT = frozenset(
    "eat drink read write buy sell make wash borrow find draw learn bring".split()
)
_MANNER_WORDS = frozenset(
    korean for key, entries in lexicon.MANNERS.items() if key != "a" for _, korean in entries
)
_ASKS_WHOM = frozenset("meet help invite introduce".split())


def _whom(rng: Random) -> Pair:
    verb = rng.choice([v for v in lexicon.VERBS if v.base in _ASKS_WHOM])
    clause = action(
        rng, subject=_asked_of(rng), verb=verb, negation="", helper=rng.choice(("", "want")),
        adjuncts=0, with_object=False,
    )  # fmt: skip
    clause = replace(clause, middle=("누구를",), front=False)
    return clause.english_question("Who"), clause.polite() + "?"


def _who(rng: Random) -> Pair:
    who = NounPhrase("who", "누구", definite=False, is_person=True)
    helper = rng.choice(("", "", "progressive", "can"))
    clause = replace(action(rng, subject=who, negation="", helper=helper), front=False)
    return _capital(clause.english()) + "?", clause.polite() + "?"


def _adverb_question(rng: Random) -> Pair:
    asked, korean = rng.choice((("Where", ""), ("When", "언제"), ("Why", "왜")))
    subject = _asked_of(rng)
    if asked == "Where":
        verb = rng.choice([v for v in lexicon.VERBS if "p" in v.manners or v.takes == "goal"])
        clause = replace(
            action(rng, subject=subject, verb=verb, negation="", helper="", adjuncts=0), front=False
        )
        if verb.takes == "goal":
            return (
                replace(clause, complement="").english_question(asked),
                replace(clause, middle=("어디에",)).polite() + "?",
            )
        middle = ("어디에서", *clause.middle)
        return clause.english_question(asked), replace(clause, middle=middle).polite() + "?"
    timed = asked == "Why"
    verb = rng.choice(QUESTIONED)
    clause = action(
        rng, subject=subject, verb=verb, negation="", helper="", adjuncts=1, timed=timed
    )
    clause = replace(clause, front=False, frequency=("", ""))
    middle = (korean, *clause.middle)
    return clause.english_question(asked), replace(clause, middle=middle).polite() + "?"


def _how_many(rng: Random) -> Pair:
    verbs = [v for v in OF_OBJECTS if v.base in ("buy", "sell", "borrow", "find", "choose", "use")]
    verb = rng.choice(verbs)
    kinds = [k for k in verb.takes.split("+") if k in ("food", "reading", "thing", "clothes")]
    noun = rng.choice(OBJECTS[rng.choice(kinds)])
    clause = action(
        rng, subject=_asked_of(rng), verb=verb, negation="", helper="", adjuncts=0,
        with_object=False,
    )  # fmt: skip
    counted = f"{particle(noun.korean, '을/를')} 몇 {noun.counter}"
    clause = replace(clause, front=False, middle=(counted,), frequency=("", ""))
    return clause.english_question(f"How many {noun.plural}"), clause.polite() + "?"


def _how_many_there(rng: Random) -> Pair:
    place, korean_place = _whereabouts(rng)
    noun = rng.choice((*lexicon.ANIMALS, *SMALL_THINGS, *lexicon.PEOPLE[:20]))
    past = rng.random() < 0.3
    return (
        f"How many {noun.plural} {'were' if past else 'are'} there {place}?",
        f"{korean_place}에 {particle(noun.korean, '이/가')} 몇 {noun.counter} "
        f"{'있었어요' if past else '있어요'}?",
    )


def _this_is(rng: Random) -> Pair:
    noun = rng.choice((*SMALL_THINGS, *lexicon.READINGS, *lexicon.CLOTHES, *lexicon.VEHICLES))
    phrase = noun_phrase(rng, noun, singular=True)
    while phrase.english.startswith(("this ", "that ")):
        phrase = noun_phrase(rng, noun, singular=True)
    this, korean = rng.choice((("this", "이것"), ("that", "그것")))
    topic = particle(korean, "은/는")
    draw = rng.random()
    if draw < 0.15:
        return f"Whose {noun.singular} is {this}?", f"{topic} 누구의 {noun.korean}이에요?".replace(
            f"{noun.korean}이에요", particle(noun.korean, "이에요/예요")
        )
    if draw < 0.35:
        negation = rng.choice(("full", "short"))
        return (
            f"{this.capitalize()} {negated('is', negation)} {phrase.english}.",
            f"{topic} {particle(phrase.korean, '이/가')} 아니에요.",
        )
    said = f"{topic} {particle(phrase.korean, '이에요/예요')}"
    if draw < 0.5:
        return f"Is {this} {phrase.english}?", said + "?"
    return f"{this.capitalize()} is {phrase.english}.", said + "."


def _weather(rng: Random) -> Pair:
    english, korean = rng.choice(lexicon.WEATHER)
    tense = rng.choice(("past", "present", "future"))
    times = [t for t in lexicon.TIMES_OF[tense] if "every" not in t[0] and "weekends" not in t[0]]
    time = ("today", "오늘") if tense == "present" else rng.choice(times)
    degree = rng.choice((("", ""), *lexicon.DEGREES))
    weather = NounPhrase("the weather", "날씨")
    place = korean_place = ""
    if rng.random() < 0.4:
        preposition, region, korean_region = rng.choice(REGIONS)
        place, korean_place = f" {preposition} {region}", f"{korean_region}의 "
    weather = replace(weather, english="the weather" + place, korean=korean_place + "날씨")
    clause = _be(
        weather, korean, f"{degree[0]} {english}".strip(), (degree[1],), tense=tense, time=time,
        front=rng.random() < 0.4,
    )  # fmt: skip
    return _statement_or_question(rng, clause, 0.2)


def _compared(rng: Random) -> Pair:
    if rng.random() < 0.5:
        first, second = rng.sample(NAMES, 2)
        kinds: Sequence[Noun] = lexicon.PEOPLE[:1]
    else:
        kind = rng.choice("animal food clothes vehicle reading show".split())
        one, other = rng.sample(OBJECTS[kind], 2)
        kinds = (one, other)
        first, second = (noun_phrase(rng, noun, adjective=0, plain=True) for noun in kinds)
    sets = [adjectives_of(noun, lexicon.ADJECTIVES) for noun in kinds]
    shared = [a for a in sets[0] if a in sets[-1] and a.comparative]
    adjective = rng.choice(shared)
    clause = _be(
        first, adjective.korean, f"{adjective.comparative} than {second.english}",
        (f"{second.korean}보다", "더"), tense=rng.choice(("past", "present", "present")),
    )  # fmt: skip
    return _statement_or_question(rng, clause, 0.25)


def _request(rng: Random) -> Pair:
    verb = rng.choice([v for v in lexicon.VERBS if "i" in v.manners])
    clause = action(rng, subject=YOU, verb=verb, tense="future", helper="", negation="")
    words = clause.complement, clause.time[0]
    if rng.random() < 0.25:
        start = rng.choice(("Please do not", "Please don't"))
        english = " ".join(filter(None, (start, verb.base, *words)))
        return english + ".", clause.korean_words(verb.korean.stem + "지 마세요") + "."
    english = " ".join(filter(None, ("Please", verb.base, *words)))
    return english + ".", clause.korean_words(verb.korean.infinitive + " 주세요") + "."


def _proposal(rng: Random) -> Pair:
    verb = rng.choice([v for v in lexicon.VERBS if "j" in v.manners and v.takes != "home"])
    clause = action(rng, subject=YOU, verb=verb, tense="future", helper="", negation="")
    english = " ".join(filter(None, ("Let's", verb.base, clause.complement, clause.time[0])))
    return english + ".", replace(clause, middle=("같이", *clause.middle)).polite_now() + "."


def _simple(rng: Random, tense: str, subject: NounPhrase | None = None) -> Clause:
    if rng.random() < 0.25:
        clause = quality(rng, subject=subject, tense=tense)
        if subject or clause.subject.is_person:
            return clause
    helper = rng.choice(("", "", "", "progressive")) if tense != "future" else ""
    return action(
        rng, subject=subject, tense=tense, helper=helper, adjuncts=1, timed=False
    )  # fmt: skip


def _linked(rng: Random) -> Pair:
    """Two clauses. A pronoun in the second stands for the subject of the first."""
    link = rng.choice(("and", "but", "because", "because", "when", "if"))
    tense = rng.choice(("past", "past", "present")) if link != "if" else "future"
    main_subject = rng.choice((*NAMES, *NAMES, *PRONOUNS.values()))
    first = _simple(rng, tense, main_subject)
    same = rng.random() < 0.45
    if same:
        subject = PRONOUNS[main_subject.pronoun]
    else:
        subject = random_subject(rng)
        while subject.pronoun and (subject in PRONOUNS.values() or subject == main_subject):
            subject = random_subject(rng)
        if main_subject.english in subject.english:
            subject = noun_phrase(rng, rng.choice(lexicon.PEOPLE))
    second = _simple(rng, "present" if link == "if" else tense, subject)
    if first.frequency[0] or second.frequency[0]:
        first, second = (replace(c, frequency=("", "")) for c in (first, second))
    if _unclear(first) or _unclear(second):
        return "", ""
    if link in ("and", "but"):
        ending = "고" if link == "and" else "지만"
        korean = f"{first.connected(ending)} {second.polite(subject=not same)}"
        return _capital(f"{first.english()} {link} {second.english()}") + ".", korean + "."
    ending = {"because": "기 때문에", "when": "때", "if": "면"}[link]
    if same:
        topic = main_subject.subject(topic=True)
        inner = second.connected(ending, subject=False)
        korean = f"{topic} {inner} {first.polite(subject=False)}"
    else:
        korean = f"{second.connected(ending, topic=False)} {first.polite()}"
    return _capital(f"{first.english()} {link} {second.english()}") + ".", korean + "."


def _unclear(clause: Clause) -> bool:
    """Whether a reader could not tell what a second clause's time belongs to."""
    return bool(clause.time[0])


def _who_relative(rng: Random) -> Pair:
    """A relative clause whose head does what it says, as a subject or an object."""
    noun = rng.choice(lexicon.PEOPLE)
    head = noun_phrase(rng, noun, plain=True, adjective=0.15)
    tense = rng.choice(("past", "present"))
    helper = "progressive" if tense == "present" else rng.choice(("", "", "progressive"))
    verb = rng.choice(QUESTIONED)
    inner = action(
        rng, subject=head, verb=verb, tense=tense, helper=helper, negation="", adjuncts=0,
        timed=False,
    )  # fmt: skip
    if inner.helper == "progressive" and tense == "past":
        inner = replace(inner, tense="present")
    korean = inner.korean.adnominal if inner.tense == "present" else inner.korean.past_adnominal
    whole = replace(
        head,
        english=f"{head.english} who {inner.english(subject=False)}",
        korean=f"{inner.korean_words(korean, subject=False)} {head.korean}",
    )
    if rng.random() < 0.5:
        clause = quality(rng, subject=whole)
        return _statement(clause)
    name = rng.choice((*NAMES, *PRONOUNS.values()))
    verb = rng.choice([v for v in lexicon.VERBS if "person" in v.takes and v.base != "see"])
    clause = action(
        rng, subject=name, verb=verb, helper="", adjuncts=0, timed=False, with_object=False
    )
    clause = replace(
        clause,
        complement=f"{verb.preposition} {whole.english}".strip(),
        middle=(particle(whole.korean, "을/를"),),
    )
    return _statement(clause)


def _object_relative(rng: Random) -> Pair:
    """A relative clause whose head is done something to."""
    verb = rng.choice(OF_OBJECTS)
    noun = rng.choice(OBJECTS[rng.choice(verb.takes.split("+"))])
    found = adjectives_of(noun, lexicon.ADJECTIVES)
    if not found or noun.kind in ("shoes", "person"):
        return "", ""
    subject = rng.choice((*NAMES, *PRONOUNS.values()))
    inner = action(
        rng, subject=subject, verb=verb, tense="past", helper="", negation="", adjuncts=0,
        timed=False, with_object=False,
    )  # fmt: skip
    english, korean = inner.english(), inner.korean_words(inner.korean.past_adnominal, topic=False)
    whole = NounPhrase(f"the {noun.singular} that {english}", f"{korean} {noun.korean}")
    clause = _described(rng, whole, rng.choice(found), rng.choice(("past", "present")), None)
    return _statement(clause)


KINDS: tuple[tuple[int, Callable[[Random], Pair]], ...] = (
    (34, _plain),
    (9, _yes_no),
    (3, _what),
    (2, _whom),
    (3, _who),
    (5, _adverb_question),
    (2, _how_many),
    (2, _how_many_there),
    (4, lambda rng: _statement_or_question(rng, quality(rng), 0.15)),
    (4, lambda rng: _statement_or_question(rng, profession(rng), 0.15)),
    (4, _existence),
    (5, _location),
    (5, _possession),
    (3, _this_is),
    (2, _weather),
    (3, _compared),
    (3, _request),
    (2, _proposal),
    (12, _linked),
    (4, _who_relative),
    (3, _object_relative),
)
_WEIGHTS = [weight for weight, _ in KINDS]
_MAKERS = [maker for _, maker in KINDS]


def sentence_pair(rng: Random) -> Pair:
    """An English sentence of 3 to 14 words and its Korean."""
    while True:
        english, korean = rng.choices(_MAKERS, _WEIGHTS)[0](rng)
        if MIN_WORDS <= len(english.split()) <= MAX_WORDS:
            return english, korean


class ToyKoreanSplit(Sequence):
    """The first `size` pairs of a split: {"source": English, "target": Korean}."""

    def __init__(self, split: str, size: int, seed: int) -> None:
        """See `toy_korean`."""
        self.split, self.size, self.seed = split, size, seed

    def __len__(self) -> int:
        """Number of pairs."""
        return self.size

    def __getitem__(self, index: int) -> dict[str, str]:  # type: ignore[override]
        """Pair `index`, made on the spot."""
        index = range(self.size)[index]
        name = f"{self.seed}/{self.split}/{index}".encode()
        rng = random.Random(blake2b(name, digest_size=16).digest())
        for _ in range(MAX_TRIES):
            english, korean = sentence_pair(rng)
            if split_of(english, HELD_OUT_PERCENT) == self.split:
                return {"source": english, "target": korean}
        raise RuntimeError(f"no sentence of {self.split} in {MAX_TRIES} tries")


def toy_korean(split: str, *, size: int = 20_000, seed: int = 0) -> ToyKoreanSplit:
    """`size` English-Korean pairs of a split. Few sentences (under 3 %) come twice in a split.

    Raises InputError for an unknown split or a size below 1.
    """
    check_split(split)
    if size < 1:
        raise InputError(f"size must be at least 1, got {size}")
    return ToyKoreanSplit(split, size, seed)
