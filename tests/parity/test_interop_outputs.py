"""Every family and task against Hugging Face: outputs, states, loss and gradients in float32."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
# In the fast suite, test_encoders_hf.py compares the same in memory, and test_frozen.py from files.
pytestmark = [pytest.mark.parity, pytest.mark.slow]

from tests.parity.comparison import TOLERANCE, compare  # noqa: E402
from tests.parity.hugging_face import CASES, classes_of  # noqa: E402

EVERY = [(case, task) for case in CASES for task in classes_of(case)]


@pytest.mark.parametrize(("case", "task"), EVERY)
def test_outputs_states_loss_and_gradients(case, task, tmp_path):
    found = compare(case, task, tmp_path / "theirs")
    assert {"loss", "gradients", "hidden states", "last_hidden_state"} - found.keys() <= {
        "last_hidden_state"
    }
    assert max(found.values()) < TOLERANCE, found
