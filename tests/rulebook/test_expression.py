"""Expressions: what they compute, what they refuse, and that nothing gets out of them."""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.errors import ExpressionError
from normadvisor.rulebook import Expression
from normadvisor.types import Location, RunContext

SCOPE = {
    "conv": {"bias": True, "kernel_size": [3, 3], "out_channels": 8, "module": "features.0", "padding": None, "shape": (2, 8, 4, 4)},
    "bn": {"num_features": 8, "eps": 1e-5},
    "context": RunContext(batch_size=32, world_size=4),
    "model": {"counts": {"conv": 3, "batch_norm": 2, "layer_norm": 1}, "parameters": 1000},
    "nodes": [{"width": 1}, {"width": 5}, {}],
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bn.num_features == conv.out_channels", True),
        ("conv.bias and not bn.frozen", True),
        ("context.per_device_batch", 8),
        ("context.batch_size / context.world_size < 16", True),
        ("2 < bn.num_features <= 8", True),
        ("prod(conv.kernel_size)", 9),
        ("max(conv.kernel_size) > 1 and min(conv.kernel_size) == 3", True),
        ("conv.shape[1]", 8),
        ("conv.shape[-1]", 4),
        ("conv.shape[2:] == [4, 4]", True),
        ("[4, 4] == conv.shape[2:]", True),
        ("len(conv.shape)", 4),
        ("sum(size for size in conv.kernel_size if size > 1)", 6),
        ("[size * 2 for size in conv.kernel_size]", [6, 6]),
        ("any(size == 1 for size in conv.kernel_size)", False),
        ("all(size == 3 for size in conv.kernel_size)", True),
        ("sorted([3, 1, 2])", [1, 2, 3]),
        ("round(10 / 3, 2)", 3.33),
        ("group_count(64)", 32),
        ("group_count(24, 8)", 8),
        ("group_count(conv.nothing)", None),
        ("abs(-3) + 2 ** 3 - 7 // 2 + 7 % 4", 11),
        ("'a' if conv.bias else 'b'", "a"),
        ("conv.module in ['features.0', 'x']", True),
        ("conv.module not in ['x']", True),
        ("'feat' in conv.module", True),
        ("has(bn, 'eps') and not has(bn, 'momentum')", True),
        ("count(conv)", 3),
        ("count('norm')", 3),
        ("count(relu)", 0),
        ("conv.padding is None", True),
        ("[1] + [2]", [1, 2]),
        ("'a' + 'b'", "ab"),
        ("(conv.bias\n and bn.eps < 1)", True),
        ("conv.bias\nand bn.eps < 1", True),
        ("max(3, 4)", 4),
        ("len([size for size in conv.kernel_size if size > 3]) + sum(size for size in conv.shape)", 18),
    ],
)
def test_computes(text, value):
    assert Expression(text, {*SCOPE}).evaluate(SCOPE) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bn.momentum < 1", False),
        ("bn.momentum >= 1", False),
        ("not bn.momentum", True),
        ("bn.momentum + 1", None),
        ("1 - bn.momentum", None),
        ("-bn.momentum", None),
        ("bn.momentum.deeper.still", None),
        ("bn.momentum == None", True),
        ("bn.sizes[0]", None),
        ("conv.shape[9]", None),
        ("conv.shape[bn.momentum]", None),
        ("1 in bn.sizes", False),
        ("1 not in bn.sizes", False),
        ("len(bn.sizes)", None),
        ("len(bn.sizes) > 0", False),
        ("any(size for size in bn.sizes)", False),
        ("all(size for size in bn.sizes)", False),
        ("sum(node.width for node in nodes)", None),
        ("min(bn.momentum, 3)", None),
        ("max([])", None),
        ("1 / 0", None),
        ("1 % 0", None),
        ("(-8) ** 0.5", None),
        ("missing", None),
        ("conv.module.upper", None),
        ("conv.kernel_size.append", None),
    ],
)
def test_unknown_never_speaks(text, value):
    assert Expression(text).evaluate(SCOPE) is value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("().__class__", "the attribute '__class__' is not available"),
        ("conv.__class__.__mro__", "the attribute '__mro__' is not available"),
        ("conv._private", "the attribute '_private' is not available"),
        ("__builtins__", "the name '__builtins__' is not available"),
        ("__import__('os')", "unknown function '__import__'"),
        ("eval('1')", "unknown function 'eval'"),
        ("open('x')", "unknown function 'open'"),
        ("getattr(conv, 'x')", "unknown function 'getattr'"),
        ("conv.module.format(conv)", "only functions can be called, methods cannot"),
        ("'{0.__class__}'.format(1)", "only functions can be called, methods cannot"),
        ("(lambda: 1)()", "only functions can be called, methods cannot"),
        ("lambda: 1", "functions cannot be defined"),
        ("f'{conv}'", "f-strings are not available"),
        ("(x := 1)", "':=' is not available"),
        ("{1: 2}", "dictionaries are not available"),
        ("{1, 2}", "sets are not available, write a list"),
        ("{k: 1 for k in conv}", "dictionaries are not available"),
        ("[*conv.shape]", "'*' before a value is not available"),
        ("max(*conv.shape)", "'*' before a value is not available"),
        ("max(1, key=len)", "keyword arguments are not available"),
        ("1 << 99", "'LShift' is not available in an expression"),
        ("1 | 2", "'BitOr' is not available in an expression"),
        ("~1", "'Invert' is not available in an expression"),
        ("conv @ bn", "'MatMult' is not available in an expression"),
        ("await conv", "'await' is not available"),
        ("(yield 1)", "'yield' is not available"),
        ("b'bytes'", "a constant of type bytes is not available"),
        ("1j", "a constant of type complex is not available"),
        ("...", "a constant of type ellipsis is not available"),
        ("9" * 30, "the number is too large"),
        ("[a for a in conv.shape for b in conv.shape]", "a comprehension may have one 'for'"),
        ("[[b for b in conv.shape] for a in conv.shape]", "a comprehension may not stand inside another one"),
        ("any(a for a in [b for b in conv.shape])", "a comprehension may not stand inside another one"),
        ("[a for a, b in conv.shape]", "a comprehension binds one plain name"),
        ("[conv for conv in bn.shape]", "'conv' already means something else here"),
        ("[a for a in conv.shape] == a", "unknown name 'a'"),
        ("[a for a in a.shape]", "unknown name 'a'"),
        ("[_a for _a in conv.shape]", "'_a' already means something else here"),
        ("[len for len in bn.shape]", "'len' already means something else here"),
        ("len", "'len' is a function"),
        ("len()", "len() takes 1 argument, not 0"),
        ("round(1, 2, 3)", "round() takes 1 to 2 arguments, not 3"),
        ("count(1)", "count() takes the name of an operation, a group or a pattern of define.patterns"),
        ("bnn.eps", "unknown name 'bnn'"),
        ("context.batchsize", "'context' has no attribute 'batchsize'"),
        ("", "the expression is empty"),
        ("  \n ", "the expression is empty"),
        ("1 +", "not an expression: invalid syntax"),
        ("import os", "not an expression: invalid syntax"),
        ("x = 1", None),
        ("a\0b", None),
        ("(" * 300 + ")" * 300, None),
        ("-" * 1900 + "1", None),
        ("not " * 450 + "1", None),
        ("1+" * 900 + "1", None),
        ("[" * 150 + "]" * 150, None),
        ("a" * 2001, "the expression has 2001 characters, at most 2000 are allowed"),
    ],
)
def test_refused_when_read(text, message):
    start = time.process_time()
    with pytest.raises(ExpressionError) as caught:
        Expression(text, ["conv", "bn", "context"])
    assert time.process_time() - start < 10  # milliseconds, where nothing explodes
    if message is not None:
        assert caught.value.message == message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("cnov.bias", "did you mean 'conv'?"),
        ("zzz", "known here: bn, context, conv"),
        ("context.batchsize", "did you mean 'batch_size'?"),
        ("maxx(1, 2)", "did you mean 'max'?"),
        ("count(batchnorm)", "did you mean 'batch_norm'?"),
        ("count(my_patern)", "did you mean 'my_pattern'?"),
    ],
)
def test_hints(text, hint):
    with pytest.raises(ExpressionError) as caught:
        Expression(text, ["conv", "bn", "context"], countable=["my_pattern"])
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    "text",
    ["9 ** 9 ** 9", "2.0 ** 64 ** 2", "10 ** 30 * 10 ** 30", "prod([10 ** 18, 10 ** 18])", "round(1, -1000000000)", "'a' * 1000000",
     "conv.shape * 1000000", "'%s' % 1", "conv.module < 3", "conv.module - 1", "-conv.module", "sum('abc')", "abs(conv.module)",
     "len(3)", "any(3)", "[x for x in 3]", "1 in 3", "conv.shape[0] + conv.module", "prod(['a'])", "round('a')",
     "group_count('a')", "group_count(0)", "group_count(8, 10 ** 9)", "group_count(2.5)", "1e300 * 1e300 ** 40"],
)  # fmt: skip
def test_fails_with_one_kind_of_error(text):
    expression = Expression(text, {*SCOPE}, location=Location("rule.yaml", 3, 7))
    start = time.process_time()
    with pytest.raises(ExpressionError) as caught:
        expression.evaluate(SCOPE)
    assert time.process_time() - start < 10  # milliseconds, where nothing explodes
    assert str(caught.value).startswith(f"rule.yaml:3:7: '{text}' cannot be evaluated: ")


def test_long_lists_are_refused():
    scope = {"nodes": list(range(10_001))}
    with pytest.raises(ExpressionError, match="walks over at most 10000 values"):
        Expression("[node for node in nodes]").evaluate(scope)
    with pytest.raises(ExpressionError, match="the result of '\\+' is too long"):
        Expression("nodes + nodes").evaluate(scope)


@dataclass
class Guarded:
    """An object with data, a method and something private."""

    size: int = 3
    _secret: str = "secret"

    def method(self):
        return "called"


def test_objects_show_data_only():
    scope = {"thing": Guarded()}
    assert Expression("thing.size").evaluate(scope) == 3
    assert Expression("thing.method").evaluate(scope) is None
    assert Expression("has(thing, '_secret') or has(thing, '__class__') or has(thing, 'method')").evaluate(scope) is False


def test_count_asks_the_function_of_the_scope_first():
    asked = []

    def counter(what):
        asked.append(what)
        return 7

    assert Expression("count(conv) + count('my_pattern')").evaluate({"count": counter}) == 14
    assert asked == ["conv", "my_pattern"]
    assert Expression("count(conv)").evaluate({}) is None


def test_an_expression_may_be_evaluated_inside_itself():
    expression = Expression("a + count(conv)")
    scope = {"a": 1}
    scope["count"] = lambda what: expression.evaluate({"a": 10, "count": lambda inner: 100})
    assert expression.evaluate(scope) == 111


def test_errors_point_into_the_text():
    with pytest.raises(ExpressionError) as caught:
        Expression("conv.bias\n  and büchse.x + cnov.y", ["conv", "büchse"], locate=lambda line, column: Location("r.yaml", line + 1, column + 1))
    assert str(caught.value) == "r.yaml:2:18: unknown name 'cnov' (did you mean 'conv'?)"


def test_pickles_as_text():
    expression = Expression("conv.bias and x", ["conv", "x"], location=Location("r.yaml", 1))
    copy = pickle.loads(pickle.dumps(expression))
    assert (copy, copy.location, hash(copy), repr(copy)) == (expression, Location("r.yaml", 1), hash(expression), "Expression('conv.bias and x')")
    assert copy.evaluate({"conv": {"bias": True}, "x": 5}) == 5
    assert copy.holds({"conv": {"bias": False}}) is False
    assert expression != "conv.bias and x"


def test_a_condition_takes_few_instructions(instructions):
    expression = Expression("bn.num_features == conv.out_channels and context.per_device_batch < 16", {*SCOPE})
    expression.evaluate(SCOPE)
    assert instructions(lambda: expression.evaluate(SCOPE)) < 3000  # some 500


WORDS = st.sampled_from(
    ["conv", "bn", ".bias", ".shape", "(", ")", "[", "]", "==", "<", " and ", " or ", "not ", " in ", " is ", " if ", " else ", " for ", "x",
     "1", "2.5", "'a'", "+", "-", "*", "/", "//", "%", "**", ",", ":", "len", "any", "count", "has", "None", "True", " ", "\n", "{", "}", "lambda ",
     ".__class__", "\\", "\0", "é", "#", "10**9"]
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=25).map("".join)))
def test_any_text_gives_a_value_or_an_expression_error(text):
    try:
        value = Expression(text, {"conv", "bn", "x"}).evaluate(SCOPE)
    except ExpressionError as error:
        assert error.message
    else:
        assert not callable(value)
