import pytest

from flaxformers_edu.errors import InputError
from train import peers
from train.launch import Launch, joined


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coordinator": "here"}, "--coordinator is 'here'; it must be host:port or auto"),
        ({"coordinator": "here:99999"}, "must be host:port"),
        ({"coordinator": "h:1"}, "needs --process i --of n"),
        ({"coordinator": "h:1", "process": 0}, "needs --process i --of n"),
        ({"coordinator": "h:1", "process": 2, "of": 2}, "--process is 2 and --of is 2"),
        ({"process": 0, "of": 2}, "go with --coordinator"),
        ({"coordinator": "auto", "of": 2}, "go with --coordinator"),
        ({"start_timeout": 0}, "--start-timeout is 0"),
        ({"dead_after": -1}, "--dead-after is -1"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Launch(**fields)


def test_alone_nothing_happens(monkeypatch, tmp_path):
    for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)
    with joined(Launch()):
        assert (peers.index(), peers.number()) == (0, 1)
        assert peers.first_decides(lambda: (1, 2)) == (1, 2)
        assert peers.first_judges("mine", lambda everyone: everyone) == ["mine"]
        peers.check_versions_and({"seed": 1})
        peers.check_shared(tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_no_cluster_to_ask(monkeypatch):
    def initialize(**_):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr("jax.distributed.initialize", initialize)
    with (
        pytest.raises(InputError, match="--coordinator auto found no cluster"),
        joined(Launch(coordinator="auto")),
    ):
        pass
