"""The tables of docs/seq2seq.md, from results as the benchmark keeps them."""

from benchmarks.seq2seq import INVERTED, PAGE, attention_table, search_name, search_table


def model(greedy, beam5, *lengths, **more):
    edges = (7, 30)[: len(lengths)]
    groups = [
        {"longest": edge, "bleu": bleu, "sentences": 9}
        for edge, bleu in zip(edges, lengths, strict=True)
    ]
    bleu = {"greedy": greedy, "beam5-normalised": beam5, **more}
    return {"parameters": 4_980_528, "bleu": bleu, "by_length": groups}


def test_models_by_length():
    models = {"none": model(20.0, 21.04, 25.0, 15.0), "general": model(33.0, 34.0, 35.0, 30.06)}
    lines = attention_table({"models": models}).splitlines()
    assert lines[0] == "| model | parameters | greedy | beam 5 | ≤ 7 | ≤ 30 |"
    assert lines[2:] == [
        "| none | 4.98M | 20.0 | 21.0 | 25.0 | 15.0 |",
        "| general | 4.98M | 33.0 | 34.0 | 35.0 | 30.1 |",
    ]


def test_searches():
    scores = {
        f"beam{beams}-{kind}": beams + (0.5 if kind == "plain" else 0.0)
        for beams in (2, 5, 10)
        for kind in ("plain", "normalised")
    }
    found = search_table({"models": {"general": model(33.0, 5.0, **scores)}})
    lines = found.splitlines()
    assert lines[0] == "| search | teacher forcing |"
    assert lines[2] == "| greedy | 33.0 |"
    assert "| beam 5, divided by the length | 5.0 |" in lines
    assert "| beam 10, plain sums | 10.5 |" in lines
    assert len(lines) == 2 + 7
    assert search_name(1, 1.0) == "greedy"


def test_the_page_has_its_places():
    text = PAGE.read_text(encoding="utf-8")
    for name in ("attention", "alignment", "search"):
        assert f"<!-- {name} -->" in text and f"<!-- end of {name} -->" in text
    assert INVERTED.endswith(".")
