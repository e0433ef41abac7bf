"""What the benchmark of GPT-1's fine-tuning makes of its summaries: a table, and its page."""

import json
from pathlib import Path

from benchmarks import gpt1_finetuning, page


def test_what_is_finished_goes_to_the_page(tmp_path):
    summary = {
        "seeds": [0, 1, 2],
        "metrics": {
            "validation/accuracy": {"mean": 0.6125, "deviation": 0.01},
            "validation/lm_loss": {"mean": 4.0, "deviation": 0.1},
        },
    }
    for weight in gpt1_finetuning.WEIGHTS:
        folder = gpt1_finetuning.folder_of(tmp_path, "sick", weight)
        folder.mkdir()
        if weight:
            (folder / "summary.json").write_text(json.dumps(summary))
    page, result = tmp_path / "page.md", tmp_path / "result.json"
    page.write_text(
        "before\n<!-- gpt1_finetuning -->\nold\n<!-- end of gpt1_finetuning -->\nafter\n"
    )
    for _ in range(2):
        gpt1_finetuning.write(Path("runs/gpt"), gpt1_finetuning.found(tmp_path), page, result)
    text = page.read_text()
    assert text.startswith("before\n<!-- gpt1") and text.endswith("gpt1_finetuning -->\nafter\n")
    assert "old" not in text and text.count("<!-- ") == 2
    assert "| entailment | sick | accuracy | 0.57 | 3 | 0.613 ± 0.010 | not run |" in text
    assert "| multiple choice | commonsenseqa | accuracy | 0.20 | 0 | not run | not run |" in text
    assert json.loads(result.read_text())["scores"] == {"sick": {"0.5": summary}}


def test_every_task_has_a_config():
    folder = Path(gpt1_finetuning.__file__).parents[1] / "configs" / "finetune"
    for task in gpt1_finetuning.TASKS:
        assert (folder / f"gpt1_{task}.py").is_file()


def test_the_page_has_a_place_for_the_table():
    text = gpt1_finetuning.PAGE.read_text()
    for mark in (page.BEGIN, page.END):
        assert text.count(mark.format(gpt1_finetuning.TABLE)) == 1
