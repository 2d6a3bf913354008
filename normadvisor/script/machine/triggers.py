"""What a text has to contain for the rules to have anything to say about it: asked before anything is executed."""

from __future__ import annotations

import ast
import re

from normadvisor.script.project.nodes import walk

__all__ = ["LOADS", "MODULE_TRIGGERS", "TRIGGERS", "Spotter", "calls_what_it_builds", "reads"]


class Spotter:
    """Finds the first of several things in a text. A regular expression is only tried where a word that it needs is there.

    Args:
        words: texts that are enough by themselves.
        patterns: words to a pattern that has to be found where one of them is.

    """

    def __init__(self, words: tuple[str, ...], patterns: dict[tuple[str, ...], str]) -> None:
        self._words = words
        self._patterns = [(needed, re.compile(pattern)) for needed, pattern in patterns.items()]

    def search(self, text: str) -> str | None:
        """One of the things that are looked for; ``None`` if there is none."""
        for word in self._words:
            if word in text:
                return word
        for needed, pattern in self._patterns:
            for word in needed:
                if word in text:
                    match = pattern.search(text)
                    if match is not None:
                        return match.group()
                    break
        return None


_SWITCHES = (".eval(", ".train(")
_PASSES = ("backward(", ".step(", ".export(")
_LOSSES = ("cross_entropy", "CrossEntropy", "BCE", "autograd.grad")
_PATTERNS = {
    (".training",): r"\.training\s*=[^=]",
    ("oss",): r"[Nn][Ll][Ll]_?[Ll]oss",
    ("dropout(", "dropout1", "dropout2", "dropout3", "dropoutd("): r"(?<!self\.)\b(?:feature_|alpha_)?dropout[123]?d?\(",
    ("Dropout",): r"Dropout\w*\([^()]*\)\(",
    ("zeros_(", "ones_(", "constant_("): r"(?:zeros_|ones_|constant_)\(\s*(?:[\w.\[\]]*weight|p\w*\b)",
    (".fill_(", ".zero_("): r"weight(?:\.data)?\.(?:fill_|zero_)\(|\bp\w*(?:\.data)?\.(?:fill_|zero_)\(",
}
TRIGGERS = Spotter(
    (
        *_SWITCHES, "no_grad", "inference_mode", "set_grad_enabled", *_PASSES, "jit.trace(", "jit.script(", "jit.freeze(", *_LOSSES,
        "DistributedDataParallel(", "DDP(", "FSDP(", "FullyShardedDataParallel(",
    ),
    {("weight_decay",): r"weight_decay\s*=", **_PATTERNS},
)  # fmt: skip
"""What a file or a function has to contain for a rule to have anything to say about it."""
LOADS = Spotter(
    ("load_state_dict(", "torch.load(", "from_pretrained(", "checkpoint"),
    {("pretrained",): r"pretrained\s*=", ("weights",): r"weights\s*="},
)
"""What makes a model that a function builds and calls one that is meant for inference."""
MODULE_TRIGGERS = Spotter(
    (*_SWITCHES, "no_grad(", "inference_mode(", *_PASSES, *_LOSSES), {("oss", "crit"): r"self\.\w*(?:[lL]oss|crit)\w*\(", **_PATTERNS}
)
"""The same for a method of a model."""


def calls_what_it_builds(node: ast.AST) -> bool:
    """Whether a function calls something that it got from a call: ``net = resnet18(pretrained=True)``, ``net(x)``."""
    built: set[str] = set()
    called: set[str] = set()
    for inner in walk(node):
        if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Call) and not ast.unparse(inner.value.func).endswith("partial"):
            built.update(ast.unparse(target) for target in inner.targets)
        elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name | ast.Attribute):
            called.add(ast.unparse(inner.func))
            if isinstance(inner.func, ast.Attribute):
                called.add(ast.unparse(inner.func.value) if inner.func.attr in {"forward", "generate"} else "")
    return bool(built & called)


def reads(text: str) -> bool:
    """Whether a file may hold anything that a rule is about."""
    return TRIGGERS.search(text) is not None or LOADS.search(text) is not None
