import dataclasses
import json
from pathlib import Path

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.sharding import MeshShape
from tests.train.tiny import config
from train.bad_steps import BadSteps
from train.saved import check_same_run, differences, from_json, to_json


def test_json_round_trip():
    experiment = config(optimizer=Optimizer(no_decay=("bias", "scale")), mesh=MeshShape(data=2))
    text = json.dumps(to_json(experiment))
    assert from_json(json.loads(text)) == experiment


@pytest.mark.parametrize("name", ["os:environ", "pathlib:Path", "configs:x", "", None, "trainer:X"])
def test_foreign_classes_are_refused(name):
    with pytest.raises(InputError, match="not of this project"):
        from_json({"class": name})


@pytest.mark.parametrize(
    "name",
    ["train.experiment:nothing", "train.experiment:run", "train.nowhere:X", "train.log:json"],
)
def test_unknown_classes_are_refused(name):
    with pytest.raises(InputError, match="unknown to this version"):
        from_json({"class": name})


def test_unknown_field_is_refused_with_the_nearest():
    tree = to_json(config())
    tree["schedule"]["warmup_step"] = 3
    with pytest.raises(InputError, match=r"field of Schedule 'warmup_step'.*'warmup_steps'"):
        from_json(tree)


def test_missing_and_mistyped_fields_are_refused():
    tree = to_json(config())
    del tree["model"]
    with pytest.raises(InputError, match="Experiment cannot be built.*model"):
        from_json(tree)
    with pytest.raises(InputError, match="Experiment cannot be built"):
        from_json({**to_json(config()), "steps": "many"})


def test_differences_are_dotted_paths():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "d": 3}}) == [
        ("a.c", 2, None),
        ("a.d", None, 3),
    ]


def test_a_resumed_run_may_not_change_what_its_numbers_mean():
    old = config()
    new = dataclasses.replace(old, optimizer=Optimizer(b2=0.5))
    with pytest.raises(InputError, match=r"optimizer\.b2=0\.999, and now it is 0\.5.*--workdir"):
        check_same_run(to_json(old), new, Path("runs/x"))


def test_a_resumed_run_may_go_on_longer_and_elsewhere():
    new = config(steps=99, mesh=MeshShape(data=2), keep_last=7, log_every=5, name="other")
    check_same_run(to_json(config()), new, Path("runs/x"))


def test_the_limits_of_bad_steps_are_a_way_on_but_the_policy_is_not():
    old = config(bad_steps=BadSteps("rollback"))
    further = dataclasses.replace(old.bad_steps, leave_out=300, max_rollbacks=9)
    check_same_run(to_json(old), config(bad_steps=further), Path("runs/x"))
    with pytest.raises(InputError, match=r"bad_steps\.policy='rollback', and now it is 'skip'"):
        check_same_run(to_json(old), config(bad_steps=BadSteps("skip")), Path("runs/x"))
