"""What the few-shot benchmark makes of its numbers: a table, a picture, and a part of the page."""

import json

from benchmarks import few_shot

RESULT = {
    "shots": [0, 1],
    "sizes": {
        size: {
            "parameters": 1000 * (index + 1),
            "accuracy": {kind: [0.0, 0.25 * index] for kind in (*few_shot.KINDS, "mean")},
        }
        for index, size in enumerate(few_shot.SIZES)
    },
}


def test_results_go_to_the_page(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- few-shot -->\nold\n<!-- end of few-shot -->\nafter\n")
    monkeypatch.setattr(few_shot, "PAGE", page)
    monkeypatch.setattr(few_shot, "PICTURE", tmp_path / "picture.png")
    monkeypatch.setattr(few_shot, "RESULTS", tmp_path)
    few_shot.write(RESULT)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("<!-- end of few-shot -->\nafter\n")
    assert "| large | 3,000 | labels | 0.0 | 50.0 |" in text and "old" not in text
    assert text.count(few_shot.FIGURE) == 1
    few_shot.write(RESULT)
    assert page.read_text() == text
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "few_shot.json").read_text()) == RESULT
