"""Text with fields."""

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting import Template

EXAMPLE = {"premise": "It rains.", "hypothesis": "It is {wet}.", "n": 3}


def test_fields_are_filled_in():
    template = Template("{premise}\nQuestion: {hypothesis} {{x}} {n}{premise}")
    assert template.fields == ("premise", "hypothesis", "n")
    assert template.fill(EXAMPLE) == "It rains.\nQuestion: It is {wet}. {x} 3It rains."
    assert Template("no fields").fill({}) == "no fields"
    assert Template("").fill({}) == ""


def test_an_unknown_field_is_told_with_the_nearest():
    with pytest.raises(
        InputError, match="field of the template 'premisse'; did you mean 'premise'"
    ):
        Template("{premisse}").fill(EXAMPLE)


@pytest.mark.parametrize("text", ["{", "}", "{a", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:3}"])
def test_other_braces_are_refused(text):
    with pytest.raises(InputError, match="template"):
        Template(text)
