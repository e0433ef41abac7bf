"""Estimates, candidates and remedies; nothing is compiled here."""

import dataclasses

import pytest

from flaxformers_edu.sharding import MeshShape
from tests.train.plan.models import gpt
from tests.train.plan.test_topology import needs_libtpu
from train.plan.analysis import MemoryParts, Plan, Times
from train.plan.program import device_bytes, prepare_step
from train.plan.remedies import remedies
from train.plan.search import (
    Estimator,
    candidates,
    promise,
    rank,
    settings,
    with_parts,
    with_remat,
)
from train.plan.topology import compile_only_devices, parse_topology

pytestmark = needs_libtpu
TOPOLOGY = parse_topology("v5e:2x2")


@pytest.fixture(scope="module")
def devices():
    return compile_only_devices(TOPOLOGY)


@pytest.fixture(scope="module")
def step(devices):
    return prepare_step(gpt(MeshShape(data=1, fsdp=2, tensor=2)), devices)


def test_an_estimate_knows_the_state_exactly(step):
    assert Estimator(TOPOLOGY)(step).state == device_bytes((step.state, step.batch))


def test_parts_and_recomputation_need_less(step):
    memory = Estimator(TOPOLOGY).memory
    assert memory(with_parts(step, 2)) < memory(step)
    by_policy = [memory(with_remat(step, name)) for name in ("none", "dots_no_batch", "full")]
    assert by_policy == sorted(by_policy, reverse=True) and by_policy[0] > by_policy[2]


def test_recomputation_takes_longer(step):
    estimate = Estimator(TOPOLOGY)
    assert estimate(with_remat(step, "full")).compute > estimate(step).compute


def test_more_parts_gather_the_weights_more_often(step):
    estimate = Estimator(TOPOLOGY)
    assert estimate(with_parts(step, 2)).network > estimate(step).network


def test_it_learns_from_what_was_compiled(step):
    estimator = Estimator(TOPOLOGY)
    estimator.learn(step, needed=10 * 2**20)
    assert estimator.memory(step) == pytest.approx(10 * 2**20)
    assert estimator.memory(with_parts(step, 2)) < 10 * 2**20


def test_rows_that_do_not_divide_are_no_candidates(step):
    assert with_parts(step, 4) is not None
    assert with_parts(step, 8) is None  # 8 rows over fsdp 2


def test_candidates_are_distinct_and_keep_the_batch(step, devices):
    found = list(candidates(step, TOPOLOGY, devices))
    assert len({settings(one) for one in found}) == len(found) > 10
    assert {one.rows for one in found} == {8}
    assert all(one.mesh.size == 4 for one in found)


def test_a_noise_scale_needs_two_parts(devices):
    measured = dataclasses.replace(
        gpt(MeshShape(data=1, fsdp=2, tensor=2)), accumulation=2, noise_scale=True
    )
    step = prepare_step(measured, devices)
    found = list(candidates(step, TOPOLOGY, devices))
    assert found and {one.experiment.accumulation for one in found} == {2, 4, 8}


def plan(peak: int, seconds: float | None) -> Plan:
    memory = MemoryParts(*[0] * 7, peak=peak, capacity=16)
    times = None if seconds is None else Times(seconds, 0.0, 0.0)
    return Plan("n", "t", 4, 4, {}, "none", 1, 8, 64, 1, memory, 1.0, 1.0, 1.0, times=times)


def test_what_fits_comes_first_and_then_what_is_fast():
    slow, fast, full, fuller = plan(4, 2.0), plan(8, 1.0), plan(17, None), plan(20, None)
    assert sorted([fuller, slow, full, fast], key=rank) == [fast, slow, full, fuller]


def test_the_fastest_that_is_expected_to_fit_promises_most(step):
    estimator = Estimator(TOPOLOGY)
    assert promise(step, estimator) < promise(with_remat(step, "full"), estimator)
    estimator.learn(step, needed=20 * 2**30)  # more than the chip has
    assert promise(with_remat(with_parts(step, 4), "full"), estimator) < promise(step, estimator)


def test_remedies_are_the_first_of_each_kind_that_is_enough(step, devices):
    estimator = Estimator(TOPOLOGY)
    estimator.learn(step, needed=20 * 2**30)
    found = remedies(step, TOPOLOGY, devices, estimator)
    assert found[0].startswith("--accumulation 2 (")
    assert any(one.startswith("--model.remat") for one in found)
    assert found[-2].startswith("more chips: v5e:2x4 with --mesh.data 1 --mesh.fsdp 4 ")
    assert found[-1].startswith("other chips: v6e:2x2 with --mesh.data 1 --mesh.fsdp 2 ")


def test_where_no_single_change_is_enough_the_least_of_all_is_named(step, devices):
    estimator = Estimator(TOPOLOGY)
    estimator.learn(step, needed=2000 * 2**30)
    [least, *_] = remedies(step, TOPOLOGY, devices, estimator)
    assert "is the least, and too much" in least and "--accumulation" in least
