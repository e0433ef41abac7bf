"""Korean morphology: particles by final consonant, conjugation in the polite style (해요체).

A Hangul syllable is one code point, 0xAC00 + (initial * 21 + vowel) * 28 + final, so a final
consonant is read and added by arithmetic.
"""

from dataclasses import dataclass

FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
FIRST, LAST = 0xAC00, 0xD7A3

# Particle -> (after a consonant, after a vowel).
PARTICLES = {
    "은/는": ("은", "는"),
    "이/가": ("이", "가"),
    "을/를": ("을", "를"),
    "와/과": ("과", "와"),
    "으로/로": ("으로", "로"),
    "이에요/예요": ("이에요", "예요"),
    "이었/였": ("이었", "였"),
}
# Pronouns that merge with the subject particle.
MERGED = {("저", "이/가"): "제가", ("누구", "이/가"): "누가"}


def final_of(word: str) -> str:
    """Final consonant of a word's last syllable; "" after a vowel.

    Raises ValueError for a word that does not end in a Hangul syllable.
    """
    if not word or not FIRST <= ord(word[-1]) <= LAST:
        raise ValueError(f"{word!r} does not end in a Hangul syllable")
    return FINALS[(ord(word[-1]) - FIRST) % 28].strip()


def with_final(word: str, final: str) -> str:
    """The word with the final consonant of its last syllable set ("" removes it)."""
    code = ord(word[-1]) - FIRST
    return word[:-1] + chr(FIRST + code - code % 28 + FINALS.index(final or " "))


def particle(word: str, kind: str) -> str:
    """The word with a particle, in the form its final consonant asks for.

    >>> particle("책", "을/를"), particle("지하철", "으로/로"), particle("저", "이/가")
    ('책을', '지하철로', '제가')
    """
    if (word, kind) in MERGED:
        return MERGED[word, kind]
    final = final_of(word)
    after_consonant, after_vowel = PARTICLES[kind]
    if kind == "으로/로" and final == "ㄹ":
        return word + after_vowel
    return word + (after_consonant if final else after_vowel)


@dataclass(frozen=True)
class Predicate:
    """A verb or adjective, of which every ending can be made.

    The two written forms decide all others: an infinitive that does not continue the stem shows an
    irregular verb (듣다/들어, 돕다/도와, 짓다/지어, 빨갛다/빨개).
    """

    stem: str
    """Dictionary form without 다: 먹, 가, 듣, 춥."""
    infinitive: str
    """Form before 요: 먹어, 가, 들어, 추워."""
    polite: str = ""
    """Present in the polite style where it is not infinitive + 요: 드세요."""
    is_verb: bool = True
    """Whether the present adnominal form is -는 (verbs, 있다, 없다) and not -(으)ㄴ."""

    @property
    def _base(self) -> str:
        """What endings in 으 follow, always with a final vowel: 먹으, 들으, 추우; 여 of 열다."""
        final = final_of(self.stem)
        if not final:
            return self.stem
        if final == "ㄹ":
            return with_final(self.stem, "")
        if self.infinitive.startswith(self.stem):
            return self.stem + "으"
        if final == "ㅂ":
            return with_final(self.stem, "") + "우"
        if final == "ㅎ":
            return with_final(self.stem, "")
        return self.infinitive[:-1] + "으"  # ㄷ and ㅅ: 들어, 지어

    @property
    def present(self) -> str:
        """먹어요."""
        return self.polite or self.infinitive + "요"

    @property
    def past_stem(self) -> str:
        """먹었."""
        return with_final(self.infinitive, "ㅆ")

    @property
    def past(self) -> str:
        """먹었어요."""
        return self.past_stem + "어요"

    @property
    def prospective(self) -> str:
        """먹을, 갈, 열: before 거예요, 수, 때."""
        return self.stem if final_of(self.stem) == "ㄹ" else with_final(self._base, "ㄹ")

    @property
    def future(self) -> str:
        """먹을 거예요."""
        return self.prospective + " 거예요"

    @property
    def conditional(self) -> str:
        """먹으면, 가면, 열면."""
        return (self.stem if final_of(self.stem) == "ㄹ" else self._base) + "면"

    @property
    def adnominal(self) -> str:
        """Present before a noun: 먹는, 여는; of an adjective 작은, 긴."""
        if not self.is_verb:
            return with_final(self._base, "ㄴ")
        stem = with_final(self.stem, "") if final_of(self.stem) == "ㄹ" else self.stem
        return stem + "는"

    @property
    def past_adnominal(self) -> str:
        """Past of a verb before a noun: 먹은, 간, 들은, 연."""
        return with_final(self._base, "ㄴ")

    def honorific(self) -> "Predicate":
        """가시다: what someone respected does."""
        base = self._base
        return Predicate(base + "시", base + "셔", base + "세요", self.is_verb)

    def negative(self) -> "Predicate":
        """먹지 않다."""
        return Predicate(self.stem + "지 않", self.stem + "지 않아", is_verb=self.is_verb)

    def progressive(self, *, honorific: bool = False) -> "Predicate":
        """먹고 있다, or 먹고 계시다."""
        if honorific:
            return Predicate(self.stem + "고 계시", self.stem + "고 계셔", self.stem + "고 계세요")
        return Predicate(self.stem + "고 있", self.stem + "고 있어")

    def possible(self) -> "Predicate":
        """먹을 수 있다."""
        return Predicate(self.prospective + " 수 있", self.prospective + " 수 있어")

    def impossible(self) -> "Predicate":
        """먹을 수 없다."""
        return Predicate(self.prospective + " 수 없", self.prospective + " 수 없어")

    def necessary(self) -> "Predicate":
        """먹어야 하다."""
        return Predicate(self.infinitive + "야 하", self.infinitive + "야 해")

    def wished(self, *, by_other: bool) -> "Predicate":
        """먹고 싶다; of someone else 먹고 싶어 하다."""
        if by_other:
            return Predicate(self.stem + "고 싶어 하", self.stem + "고 싶어 해")
        return Predicate(self.stem + "고 싶", self.stem + "고 싶어", is_verb=False)
