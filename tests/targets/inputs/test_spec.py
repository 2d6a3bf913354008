from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from normadvisor.errors import InputError
from normadvisor.targets.inputs.spec import InputSpec, TensorSpec, format_value, make_tensors, parse_input


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2x3x224x224", InputSpec(TensorSpec((2, 3, 224, 224)))),
        ("2X16:long", InputSpec(TensorSpec((2, 16), "int64"))),
        ("2\N{MULTIPLICATION SIGN}16 : torch.int32", InputSpec(TensorSpec((2, 16), "int32"))),
        ("mask = 2x16:bool", InputSpec(TensorSpec((2, 16), "bool"), "mask")),
        ("t=scalar:float64", InputSpec(TensorSpec((), "float64"), "t")),
        ("5", InputSpec(TensorSpec((5,)))),
        ("t=0.5", InputSpec(0.5, "t")),
        ("t=-3", InputSpec(-3, "t")),
        ("flag=True", InputSpec(True, "flag")),
        ("state=None", InputSpec(None, "state")),
        ("mode='fast'", InputSpec("fast", "mode")),
        ("[3x32x32, 3x40x40]", InputSpec([TensorSpec((3, 32, 32)), TensorSpec((3, 40, 40))])),
        ("(2x8, [2x8])", InputSpec((TensorSpec((2, 8)), [TensorSpec((2, 8))]))),
        ("targets=[{boxes=4x4, labels=4:int64}]", InputSpec([{"boxes": TensorSpec((4, 4)), "labels": TensorSpec((4,), "int64")}], "targets")),
        ("[]", InputSpec([])),
    ],
)
def test_parse(text, expected):
    assert parse_input(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a shape"),
        ("2x3x", "is not a shape (sizes are joined by x"),
        ("2,3", "is not a shape"),
        ("2x-3", "is not a shape"),
        ("2x0x3", "is empty: a size is 0"),
        ("2x3:flaot32", "unknown dtype 'flaot32' in the input '2x3:flaot32' (did you mean 'float32'?)"),
        ("2x3:", "unknown dtype ''"),
        ("[2x3", "lacks a closing ']'"),
        ("{2x3}", "'2x3' in the input '{2x3}' has no name"),
        ("[" * 20 + "2" + "]" * 20, "nests more than 8 deep"),
        ("x".join(["2"] * 20), "is too large"),
        ("9" * 30, "is too large"),
    ],
)
def test_errors(text, words):
    with pytest.raises(InputError) as caught:
        parse_input(text)
    assert words in str(caught.value)


sizes = st.lists(st.integers(1, 999), max_size=5).map(tuple)
tensors = st.builds(TensorSpec, sizes, st.sampled_from(["float32", "int64", "bool"]))
values = st.recursive(
    tensors | st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]\w{0,5}", fullmatch=True), inner, max_size=3),
    max_leaves=6,
)


@given(values)
@example(5e-324)
def test_what_is_printed_parses_back(value):
    assert parse_input(format_value(value)).value == value


@given(st.text(max_size=40) | st.text(alphabet="0123456789x:[]{}(),=int64.- ", max_size=40))
def test_any_text_parses_or_is_an_input_error(text):
    try:
        parse_input(text)
    except InputError as error:
        assert error.message


def test_tensors():
    spec = [TensorSpec((2, 3)), {"ids": TensorSpec((2, 4), "int64", high=5)}, 0.5]
    floats, ids, number = make_tensors(spec, "cpu")[0], make_tensors(spec, "cpu")[1]["ids"], make_tensors(spec, "cpu")[2]
    assert (floats.shape, floats.dtype, ids.dtype, bool((ids < 5).all()), number) == ((2, 3), torch.float32, torch.int64, True, 0.5)
    assert make_tensors(TensorSpec((2, 3), "bool"), "meta").device.type == "meta"
    assert make_tensors(TensorSpec((1, 3), "int64", values=(1, 4, 4)), "meta").tolist() == [[1, 4, 4]]


def test_tensors_larger_than_memory_are_refused():
    with pytest.raises(InputError, match="does not fit into memory"):
        make_tensors(TensorSpec((2**20, 2**20)), "cpu")
