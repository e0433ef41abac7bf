import importlib.util
import json
import sys

import numpy as np
import pytest

from flaxformers_edu.metrics.bleu import LengthBucket
from flaxformers_edu.optim import Schedule
from train import report
from train.report import style
from train.report.schedules import schedules_figure

SOURCE = ["▁the", "▁teacher", "▁reads", "▁$", "</s>"]
TARGET = ["▁선생님", "은", "▁읽", "는다", "</s>", "\n"]
WEIGHTS_LHTS = np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 3, 6)).astype(np.float32)


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 3000


@pytest.fixture
def run_folder(tmp_path):
    lines = [{"step": i, "loss": 5 / i, "learning_rate": 1e-3 / i} for i in range(1, 81)]
    lines += [{"step": i, "kind": "eval", "loss": 6 / i, "eval/bleu": i} for i in (20, 40, 80)]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '\n{"final": true, "bleu": 80}\n{"step": 8')
    return tmp_path


def test_everything_there_is_gets_drawn(run_folder):
    # a glyph that no font has would be a warning, and so an error
    files = report.write_report(
        run_folder,
        schedule=Schedule(name="cosine", peak=1e-3, warmup_steps=10).build(80),
        total_steps=80,
        attention=[report.AttentionSample(WEIGHTS_LHTS, TARGET, SOURCE)],
        bleu_buckets=[LengthBucket(0, 5, 91.5, 10), LengthBucket(6, 10, 0.0, 1)],
    )
    assert [file.name for file in files] == [
        "learning_curves.png",
        "schedule.png",
        "attention_1.png",
        "attention_1_heads.png",
        "bleu_by_length.png",
    ]
    assert all(file.parent == run_folder / "report" and is_picture(file) for file in files)


def test_nothing_to_draw_draws_nothing(tmp_path):
    assert report.write_report(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('{"final": true}\nnonsense\n[1]\n')
    assert report.write_report(tmp_path) == []


def test_one_point_and_long_grids_are_drawn(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    weights = np.full((2, 8, 40, 40), 1 / 40, np.float32)
    sample = report.AttentionSample(weights, ["가"] * 40, ["a"] * 40)
    assert len(report.write_report(tmp_path, attention=[sample])) == 3


def test_a_single_head_is_drawn_once(tmp_path):
    sample = report.AttentionSample(WEIGHTS_LHTS[:1, :1], TARGET, SOURCE)
    files = report.write_report(tmp_path, attention=[sample])
    assert [file.name for file in files] == ["attention_1.png"]
    assert report.attention_figure(WEIGHTS_LHTS[0, :1], TARGET, SOURCE, "title").get_suptitle() == (
        "title"
    )


def test_metrics_are_read_generously(run_folder):
    records = report.read_metrics(run_folder / "metrics.jsonl")
    assert len(records) == 84  # the torn last line is left out
    found = report.series(
        [
            *records,
            {"step": 80, "loss": 0.5},  # done again after a resume
            {"step": 81, "loss": float("nan"), "note": "text", "good": True},
            {"loss": 3.0},
        ]
    )
    assert set(found) == {"train/loss", "train/learning_rate", "eval/loss", "eval/bleu"}
    steps, values = found["train/loss"]
    assert list(steps) == list(range(1, 81)) and values[-1] == 0.5 and values[0] == 5
    assert list(found["eval/bleu"][1]) == [20, 40, 80]


def test_tokens_are_on_the_axes_and_readable():
    figure = report.attention_figure(WEIGHTS_LHTS[0], TARGET, SOURCE, "title")
    axes = figure.axes[0]
    words = [label.get_text() for label in axes.get_xticklabels()]
    assert words == ["_the", "_teacher", "_reads", r"_\$", "</s>"]
    assert [t.get_text() for t in axes.get_yticklabels()][:2] == ["_선생님", "은"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("source", "target")
    np.testing.assert_allclose(axes.images[0].get_array(), WEIGHTS_LHTS[0].mean(axis=0))


def test_the_first_target_token_is_at_the_top():
    axes = report.attention_figure(WEIGHTS_LHTS[0, 0], TARGET, SOURCE, "title").axes[0]
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_weights_that_do_not_fit_the_tokens_are_refused(tmp_path):
    with pytest.raises(ValueError, match="does not fit 5 target and 6 source"):
        report.attention_heatmap(tmp_path / "a.png", WEIGHTS_LHTS[0, 0], SOURCE, TARGET)
    with pytest.raises(ValueError, match="does not fit"):
        report.attention_grid(
            tmp_path / "a.png", report.AttentionSample(WEIGHTS_LHTS, SOURCE, TARGET)
        )
    assert not (tmp_path / "a.png").exists()


def test_the_font_has_hangul_and_no_package_was_imported_for_it():
    from matplotlib.ft2font import FT2Font

    report.hangul_font.cache_clear()
    path = report.hangul_font()
    assert all(ord(letter) in FT2Font(str(path)).get_charmap() for letter in "가힣")
    assert "koreanize_matplotlib" not in sys.modules


def test_without_any_font_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(style, "_has_hangul", lambda path: False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    report.hangul_font.cache_clear()
    with pytest.warns(UserWarning, match="pip install koreanize-matplotlib"):
        assert report.hangul_font() is None
    report.hangul_font.cache_clear()


def test_matplotlib_s_settings_are_left_as_they_were(run_folder):
    import matplotlib

    before = dict(matplotlib.rcParams)
    report.write_report(run_folder)
    assert dict(matplotlib.rcParams) == before


def test_every_schedule_has_a_panel(tmp_path):
    assert is_picture(schedules_figure(tmp_path / "schedules.png"))
