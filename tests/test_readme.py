"""What the README shows works as it stands there."""

import re
from pathlib import Path

from tests.tiny_bert import write

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_examples_run(tmp_path, monkeypatch):
    """One after the other, as a reader would type them, in a folder that holds a BERT."""
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 2
    write(tmp_path / "bert-base-uncased", "masked_lm")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102
    assert names["out"].logits.shape == (1, 4, 1000)
    assert names["found"].sequences.shape[0] == 1
    assert names["logits"].shape[-1] == names["p"].tokenizer.vocab_size
    assert (tmp_path / "mine" / "model.safetensors").is_file()
    assert len(names["fill"]("the [MASK] sat")) == 5


def test_links_and_pictures_exist():
    paths = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert paths
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_commands_name_existing_configs():
    named = re.findall(r"configs/\w+\.py", README)
    assert named
    assert not [path for path in named if not (ROOT / path).is_file()]
