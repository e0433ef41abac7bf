"""Replica groups in every spelling that XLA has for them."""

import pytest

from train.plan.groups import groups_of
from train.plan.hlo import parse


def groups(attributes: str, opcode: str = "all-reduce", num_devices: int = 8):
    line = f"  ROOT %r = f32[2]{{0}} {opcode}(%x), channel_id=1, {attributes}, to_apply=%add"
    text = "ENTRY %main (x: f32[2]) -> f32[2] {\n  %x = f32[2]{0} parameter(0)\n" + line + "\n}"
    return groups_of(parse(text).entry.root, num_devices)


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("replica_groups={{0,2},{1,3}}", ((0, 2), (1, 3))),
        ("replica_groups={}", (tuple(range(8)),)),
        ("replica_groups=[2,4]<=[8]", ((0, 1, 2, 3), (4, 5, 6, 7))),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", ((0, 4), (1, 5), (2, 6), (3, 7))),
        ("replica_groups=mesh['a'=2,'b'=4] {'b'}", ((0, 1, 2, 3), (4, 5, 6, 7))),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}", ((0, 4), (1, 5), (2, 6), (3, 7))),
        (
            "replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}",
            ((0, 2), (1, 3)),
        ),
        (
            "replica_groups=mesh['a'=2,'b'=4] {'b':(1)2}",
            ((0, 2), (1, 3), (4, 6), (5, 7)),
        ),
        (
            "replica_groups=mesh['a'=2,'b'=4] {'b':(2)2}",
            ((0, 1), (2, 3), (4, 5), (6, 7)),
        ),
    ],
)
def test_spellings(spelling, expected):
    assert groups(spelling) == expected


def test_pairs_of_a_permutation():
    pairs = groups("source_target_pairs={{0,1},{1,0}}", "collective-permute")
    assert pairs == ((0, 1), (1, 0))


def test_an_unknown_spelling_is_an_error():
    with pytest.raises(ValueError, match="unknown spelling"):
        groups("replica_groups=something_new")
