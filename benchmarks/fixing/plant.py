"""Plants mistakes in sound model files: one change of the text each, which a fix has to take back."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Plant", "plants"]

_ACTIVATION = re.compile(
    r"(ReLU6?|GELU|SiLU|ELU|LeakyReLU|Hardswish|Tanh|Mish|act_layer|activation_layer|relu6?|gelu|silu|act\d?|activation)"
)
_BATCH_NORM = re.compile(r"(BatchNorm[123]d|norm_layer|bn\d?|norm\d?)")
_LINEAR = re.compile(r"(Linear|Conv[123]d|ConvTranspose[123]d|create_conv2d)")
_IDEMPOTENT = re.compile(r"(ReLU6?|relu6?|Hardtanh)")


@dataclass(frozen=True, slots=True)
class Plant:
    """A file with one mistake in it."""

    rule: str
    """The rule that has to find it."""
    kind: str
    """How it was planted."""
    line: int
    """Line of the change, 1-based."""
    text: str
    """The whole file."""
    context: dict[str, str] = field(default_factory=dict)
    """What a user says about the training, where the rule needs it."""


class _File:
    """Text and tree of one file."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self._starts = [0]
        for line in text.encode().split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._bytes = text.encode()

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Byte offsets of a node."""
        return (
            self._starts[node.lineno - 1] + node.col_offset,  # type: ignore[attr-defined]
            self._starts[node.end_lineno - 1] + node.end_col_offset,  # type: ignore[attr-defined]
        )

    def segment(self, node: ast.AST) -> str:
        """Text of a node."""
        start, end = self.span(node)
        return self._bytes[start:end].decode()

    def changed(self, *changes: tuple[int, int, str]) -> str:
        """The text after replacing byte spans, which do not overlap."""
        data = self._bytes
        for start, end, text in sorted(changes, reverse=True):
            data = data[:start] + text.encode() + data[end:]
        return data.decode()

    def sequences(self) -> Iterator[list[ast.expr]]:
        """Elements of every ``nn.Sequential(...)`` and list of layers."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and _last(node.func) == "Sequential" and node.args:
                yield node.args
            elif isinstance(node, ast.List) and any(isinstance(item, ast.Call) for item in node.elts):
                yield node.elts


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is(node: ast.AST, names: re.Pattern[str]) -> bool:
    return isinstance(node, ast.Call) and names.fullmatch(_last(node.func)) is not None


def plants(text: str) -> Iterator[Plant]:
    """Every mistake that can be planted in a file. Whether its model shows it is for the reader of a trace to say."""
    file = _File(text)
    for plant in _PLANTERS:
        for found in plant(file):
            try:
                ast.parse(found.text)
            except SyntaxError:
                continue
            yield found


def _biases(file: _File) -> Iterator[Plant]:
    """``bias=False`` becomes ``bias=True``."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and _is(node, _LINEAR):
            for keyword in node.keywords:
                if keyword.arg == "bias" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False:
                    yield Plant("NA102", "bias", keyword.value.lineno, file.changed((*file.span(keyword.value), "True")))


def _doubled(file: _File) -> Iterator[Plant]:
    """An activation or a norm of a sequence stands there twice."""
    for elements in file.sequences():
        for element in elements:
            words = file.segment(element)
            _, end = file.span(element)
            if _is(element, _ACTIVATION):
                kind = "idempotent activation twice" if _is(element, _IDEMPOTENT) else "activation twice"
                yield Plant("NA105", kind, element.lineno, file.changed((end, end, f", {words}")))
            elif _is(element, _BATCH_NORM):
                yield Plant("NA104", "norm twice", element.lineno, file.changed((end, end, f", {words}")))


def _called_twice(file: _File) -> Iterator[Plant]:
    """``F.relu(x)`` becomes ``F.relu(F.relu(x))``, ``self.relu(x)`` likewise."""
    for function in ast.walk(file.tree):
        if isinstance(function, ast.FunctionDef) and function.name in {"forward", "forward_features", "_forward_impl"}:
            for node in ast.walk(function):
                if _is(node, _ACTIVATION) and isinstance(node, ast.Call) and len(node.args) == 1 and isinstance(node.func, ast.Attribute):
                    called = file.segment(node.func)
                    rest = "".join(f", {file.segment(keyword)}" for keyword in node.keywords)
                    start, end = file.span(node)
                    words = f"{called}({file.segment(node)}{rest})"
                    kind = "idempotent call twice" if _IDEMPOTENT.fullmatch(_last(node.func)) else "call twice"
                    yield Plant("NA105", kind, node.lineno, file.changed((start, end, words)))


def _swapped(file: _File) -> Iterator[Plant]:
    """norm, activation becomes activation, norm: in sequences, in nested calls, in two statements."""
    for elements in file.sequences():
        for first, second in itertools.pairwise(elements):
            if _is(first, _BATCH_NORM) and _is(second, _ACTIVATION):
                text = file.changed((*file.span(first), file.segment(second)), (*file.span(second), file.segment(first)))
                yield Plant("NA101", "swapped in a sequence", first.lineno, text)
    for node in ast.walk(file.tree):
        if _is(node, _ACTIVATION) and isinstance(node, ast.Call) and len(node.args) == 1 and _is(node.args[0], _BATCH_NORM):
            inner = node.args[0]
            if isinstance(inner, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(inner.func, ast.Attribute):
                text = file.changed((*file.span(node.func), file.segment(inner.func)), (*file.span(inner.func), file.segment(node.func)))
                yield Plant("NA101", "swapped in a call", node.lineno, text)
        for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
            if isinstance(body, list):
                yield from _swapped_statements(file, body)


def _swapped_statements(file: _File, body: Sequence[ast.stmt]) -> Iterator[Plant]:
    for first, second in itertools.pairwise(body):
        if not (isinstance(first, ast.Assign) and isinstance(second, ast.Assign)):
            continue
        one, other = first.value, second.value
        if not (_is(one, _BATCH_NORM) and _is(other, _ACTIVATION) and isinstance(one, ast.Call) and isinstance(other, ast.Call)):
            continue
        if len(one.args) == len(other.args) == 1 and isinstance(one.func, ast.Attribute) and isinstance(other.func, ast.Attribute):
            text = file.changed((*file.span(one.func), file.segment(other.func)), (*file.span(other.func), file.segment(one.func)))
            yield Plant("NA101", "swapped in statements", first.lineno, text)


def _dropouts(file: _File) -> Iterator[Plant]:
    """Dropout in front of a batch normalization."""
    for elements in file.sequences():
        for element in elements[1:]:
            if _is(element, re.compile(r"BatchNorm[123]d")):
                start, _ = file.span(element)
                yield Plant("NA103", "dropout before the norm", element.lineno, file.changed((start, start, "nn.Dropout(0.3), ")))


def _dropped(file: _File) -> Iterator[Plant]:
    """The activation between two linear layers is gone."""
    for elements in file.sequences():
        for before, middle, after in zip(elements, elements[1:], elements[2:], strict=False):
            if _is(before, _LINEAR) and _is(middle, _ACTIVATION) and _is(after, _LINEAR):
                start, _ = file.span(middle)
                yield Plant("NA106", "activation taken out", before.lineno, file.changed((start, file.span(after)[0], "")))


def _outputs(file: _File) -> Iterator[Plant]:
    """An activation, or softmax, on what ``forward`` returns."""
    for node in file.tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for function in node.body:
            if isinstance(function, ast.FunctionDef) and function.name == "forward" and isinstance(function.body[-1], ast.Return):
                value = function.body[-1].value
                if value is not None and not isinstance(value, ast.Tuple | ast.Dict):
                    words = file.segment(value)
                    for rule, form, context in (
                        ("NA107", "torch.relu({})", {}),
                        ("NA501", "torch.softmax({}, dim=1)", {"loss": "cross_entropy"}),
                    ):
                        text = file.changed((*file.span(value), form.format(words)))
                        yield Plant(rule, "output " + form.partition("(")[0], value.lineno, text, context)


def _unused(file: _File) -> Iterator[Plant]:
    """A norm and an activation that nothing calls."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            for statement in node.body:
                if isinstance(statement, ast.Assign) and re.match(r"self\.\w+$", file.segment(statement.targets[0])):
                    _, end = file.span(statement)
                    indent = " " * statement.col_offset
                    for words in ("nn.BatchNorm2d(8)", "nn.ReLU()"):
                        text = file.changed((end, end, f"\n{indent}self.left_over = {words}"))
                        yield Plant("NA110", f"unused {words}", statement.lineno + 1, text)
                    break


def _shared(file: _File) -> Iterator[Plant]:
    """The second batch normalization of a class is the first one again."""
    for owner in ast.walk(file.tree):
        if not isinstance(owner, ast.ClassDef):
            continue
        made = {
            statement.targets[0].attr: statement
            for statement in ast.walk(owner)
            if isinstance(statement, ast.Assign)
            and isinstance(statement.targets[0], ast.Attribute)
            and _is(statement.value, _BATCH_NORM)
        }
        for first, second in zip(made, list(made)[1:], strict=False):
            if file.segment(made[first].value) != file.segment(made[second].value):
                continue
            calls = [
                node for node in ast.walk(owner)
                if isinstance(node, ast.Attribute) and node.attr == second and isinstance(node.ctx, ast.Load)
            ]  # fmt: skip
            if len(calls) == 1:
                start, end = file.span(made[second])
                line = file.text.encode().rfind(b"\n", 0, start) + 1
                text = file.changed((line, end + 1, ""), (*file.span(calls[0]), f"self.{first}"))
                yield Plant("NA111", "shared norm", made[first].lineno, text)


def _misfits(file: _File) -> Iterator[Plant]:
    """BatchNorm of the wrong dimension, or of the wrong width."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and _last(node.func) == "BatchNorm2d" and isinstance(node.func, ast.Attribute):
            called = file.segment(node.func).replace("2d", "1d")
            yield Plant("NA306", "BatchNorm1d on maps", node.lineno, file.changed((*file.span(node.func), called)))
            if node.args:
                words = f"{file.segment(node.args[0])} + 1"
                yield Plant("NA306", "wrong width", node.lineno, file.changed((*file.span(node.args[0]), words)))


_PLANTERS: tuple[Callable[[_File], Iterator[Plant]], ...] = (
    _biases, _doubled, _called_twice, _swapped, _dropouts, _dropped, _outputs, _unused, _shared, _misfits,
)  # fmt: skip
