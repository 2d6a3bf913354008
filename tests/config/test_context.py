from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.config import CONTEXT_KEYS, parse_context
from normadvisor.errors import ConfigError
from normadvisor.types import Location, RunContext


def test_keys_are_those_of_the_run_context():
    assert tuple(field.name for field in fields(RunContext)) == CONTEXT_KEYS


def test_values_as_a_file_gives_them():
    given = {"batch_size": 16, "task": "detection", "loss": "cross_entropy", "precision": "amp", "world_size": 8, "distributed": "ddp", "fine_tune": True}
    assert parse_context(given) == RunContext(**given)


def test_values_as_a_comment_gives_them():
    given = {"batch-size": "2", "fine_tune": "True", "task": "none"}
    assert parse_context(given) == RunContext(batch_size=2, fine_tune=True, task="none")


def test_none_is_unknown():
    assert parse_context({"batch_size": None, "task": None}) == RunContext()


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"batchsize": 2}, "x.py:3:1: unknown context key 'batchsize' (did you mean 'batch_size'?)"),
        ({"task": "Detection"}, "x.py:3:1: 'task' cannot be 'Detection' (did you mean 'detection'?)"),
        ({"precision": "float16"}, "x.py:3:1: 'precision' cannot be 'float16' (known are 'fp32', 'bf16', 'fp16', 'amp')"),
        ({"distributed": 3}, "x.py:3:1: 'distributed' cannot be 3 (one of 'none', 'ddp', 'fsdp')"),
        ({"batch_size": 0}, "x.py:3:1: 'batch_size' cannot be 0 (a whole number from 1 to 1000000000)"),
        ({"batch_size": True}, "x.py:3:1: 'batch_size' cannot be true (a whole number from 1 to 1000000000)"),
        ({"world_size": "two"}, "x.py:3:1: 'world_size' cannot be 'two' (a whole number from 1 to 1000000000)"),
        ({"fine_tune": 1}, "x.py:3:1: 'fine_tune' cannot be 1 (true or false)"),
        ({"batch_size": 2, "batch-size": 4}, "x.py:3:1: 'batch_size' is given twice"),
    ],
)
def test_mistakes_are_named_with_the_way_out(mapping, message):
    with pytest.raises(ConfigError) as caught:
        parse_context(mapping, Location("x.py", 3))
    assert str(caught.value) == message


def test_a_key_of_known_place_is_named_there():
    with pytest.raises(ConfigError) as caught:
        parse_context({"task": "x"}, Location("x.py", 3), locate=lambda key: Location(key, 7, 2))
    assert caught.value.location == Location("task", 7, 2)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.just(10**5000)


@given(st.dictionaries(st.sampled_from(CONTEXT_KEYS) | st.text(), VALUES, max_size=4))
def test_no_mapping_raises_anything_else(mapping):
    try:
        context = parse_context(mapping)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(context, RunContext)
