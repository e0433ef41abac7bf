"""Articles of WikiText."""

import pytest

from flaxformers_edu.errors import InputError
from train.sources import TextFile
from train.sources.wikitext import detokenised

TEXT = """ 
 = Paris = 
 
 Paris ( the capital ) has 2 @,@ 000 @,@ 000 people . It 's " large " , isn 't it ? 
 
 = = History = = 
 
 It began early . 
 
 = Rome = 
 
 Rome was not built in a day . 
 
"""  # noqa: W291, W293 (as the files have it)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "wiki.train.tokens"
    path.write_text(TEXT)
    return TextFile(train=str(path), unit="article")


def test_an_article_is_what_stands_under_a_title(source):
    paris, rome = source.load("train")
    assert paris["sentences"] == [
        "Paris (the capital) has 2,000,000 people.",
        "It's \"large\", isn't it?",
        "It began early.",
    ]
    assert rome == {"text": "Rome was not built in a day."} | {"sentences": [rome["text"]]}


@pytest.mark.parametrize(
    ("spaced", "written"),
    [
        ("role @-@ playing", "role-playing"),
        ("3 @.@ 5 km ( 2 mi ) ;", "3.5 km (2 mi);"),
        ('" One " and " two " .', '"One" and "two".'),
        ("the players ' own", "the players' own"),
    ],
)
def test_punctuation_is_put_back(spaced, written):
    assert detokenised(f" {spaced} ") == written


def test_a_file_without_titles_is_refused(tmp_path):
    path = tmp_path / "plain.txt"
    path.write_text("No titles here.\n")
    with pytest.raises(InputError, match="no articles: their titles are lines such as"):
        TextFile(train=str(path), unit="article").load("train")
