"""What a text has to contain for the rules to have anything to say about it: asked before anything is executed."""

from __future__ import annotations

import ast
import re

from normadvisor.script.project.nodes import walk

__all__ = ["LOADS", "MODULE_TRIGGERS", "TRIGGERS", "calls_what_it_builds", "reads"]

TRIGGERS = re.compile(
    r"\.eval\(|\.train\(|\.training\s*=[^=]|no_grad|inference_mode|set_grad_enabled|backward\(|\.step\(|\.export\("
    r"|jit\.(?:trace|script|freeze)\("
    r"|cross_entropy|CrossEntropy|[Nn][Ll][Ll]_?[Ll]oss|BCE|binary_cross_entropy|weight_decay\s*=|autograd\.grad"
    r"|DistributedDataParallel\(|DDP\(|FSDP\(|FullyShardedDataParallel\("
    r"|(?<!self\.)\b(?:feature_|alpha_)?dropout[123]?d?\(|Dropout\w*\([^()]*\)\("
    r"|(?:zeros_|ones_|constant_)\(\s*(?:[\w.\[\]]*weight|p\w*\b)|weight(?:\.data)?\.(?:fill_|zero_)\(|\bp\w*(?:\.data)?\.(?:fill_|zero_)\("
)
"""What a file or a function has to contain for a rule to have anything to say about it."""
LOADS = re.compile(r"load_state_dict\(|torch\.load\(|from_pretrained\(|pretrained\s*=|weights\s*=|checkpoint")
"""What makes a model that a function builds and calls one that is meant for inference."""
MODULE_TRIGGERS = re.compile(
    r"\.eval\(|\.train\(|\.training\s*=[^=]|no_grad\(|inference_mode\(|backward\(|\.step\(|\.export\("
    r"|cross_entropy|CrossEntropy|[Nn][Ll][Ll]_?[Ll]oss|BCE|autograd\.grad|(?<!self\.)\b(?:feature_|alpha_)?dropout[123]?d?\(|Dropout\w*\([^()]*\)\("
    r"|(?:zeros_|ones_|constant_)\(\s*(?:[\w.\[\]]*weight|p\w*\b)|weight(?:\.data)?\.(?:fill_|zero_)\(|\bp\w*(?:\.data)?\.(?:fill_|zero_)\("
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
