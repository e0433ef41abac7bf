"""Names of topologies, and what is wrong with them in one line."""

import importlib.util

import pytest

from flaxformers_edu.errors import InputError
from train.plan.topology import compile_only_devices, larger, parse_topology

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed: pip install -e '.[tpu]'",
)


def test_a_name():
    topology = parse_topology("v5p:8x8x8")
    assert (topology.device.name, topology.shape) == ("v5p", (8, 8, 8))
    assert (topology.num_chips, topology.num_devices) == (512, 512)
    assert [topology.closes(axis) for axis in range(3)] == [True, True, True]
    assert not parse_topology("v5e:8x16").closes(0) and parse_topology("v5e:8x16").closes(1)


def test_some_chips_are_two_devices():
    assert parse_topology("tpu7x:4x4x4").num_devices == 128


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("v5p:8x8", "unknown topology 'v5p:8x8'; did you mean 'v5p:8x8x8'?"),
        ("v5:8x8x8", "did you mean 'v5p:8x8x8'? Generations: v4, v5p, tpu7x, v5e, v6e"),
        ("v5e-16", "did you mean 'v5e:"),
        ("v5e:16x16x16", "v5e comes as 2x2, 2x4, 4x4, 4x8, 8x8, 8x16, 16x16"),
        ("v5e:0x4", "unknown topology 'v5e:0x4'"),
        ("", "unknown topology ''"),
    ],
)
def test_a_wrong_name_gets_the_nearest(name, words):
    with pytest.raises(InputError) as refused:
        parse_topology(name)
    assert words in str(refused.value)


def test_slices():
    assert parse_topology("v5e:4x4", slices=2).num_chips == 32
    with pytest.raises(InputError, match="--slices is 0"):
        parse_topology("v5e:4x4", slices=0)
    with pytest.raises(InputError, match="of v4 is not published"):
        parse_topology("v4:4x4x4", slices=2)


def test_larger_ones_ascend():
    found = larger(parse_topology("v5e:8x16"))
    assert [one.name for one in found][:2] == ["v5e:16x16", "v5e:16x16, 2 slices"]
    assert all(one.num_chips > 128 for one in found)


def test_without_libtpu_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[tpu\]'"):
        compile_only_devices(parse_topology("v5e:2x2"))


@needs_libtpu
@pytest.mark.parametrize(
    ("name", "slices"), [("v5e:4x4", 1), ("v5p:2x2x2", 2), ("v4:2x2x1", 1), ("tpu7x:2x2x1", 1)]
)
def test_devices_are_as_many_as_the_name_says(name, slices):
    topology = parse_topology(name, slices)
    devices = compile_only_devices(topology)
    assert len(devices) == topology.num_devices
    assert {device.device_kind for device in devices} <= set(topology.device.kinds)
    assert len({getattr(device, "slice_index", None) for device in devices}) == slices


@needs_libtpu
def test_a_shape_that_libtpu_does_not_know():
    with pytest.raises(InputError, match="unknown topology 'v5e:3x3'"):
        compile_only_devices(parse_topology("v5e:3x3"))
