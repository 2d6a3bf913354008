"""Classes whose file names no layer that depends on the mode: whatever their code builds in ways that are hard to follow, it is none."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from normadvisor.script.project.classes import ClassInfo
from normadvisor.script.project.externals import STANDARD
from normadvisor.script.project.modules import SourceModule
from normadvisor.script.project.nodes import walk

if TYPE_CHECKING:
    from normadvisor.script.project.modules import Project

__all__ = ["names_no_layers"]

_LAYER = re.compile(
    r"batch_?norm|^bn\d*$|_bn|sync_?b|instance_?norm|drop|stochastic_?depth|r_?relu$|abn$|multihead|transformer|norm_?layer|norm_?act|^norm$"
    r"|mode_dependent|attention_?layer|feature_?extractor|pretrained|from_config",
    re.IGNORECASE,
)
"""Words that name such a layer, or something that may hold one."""
_HARMLESS = re.compile(r"leaky_?relu|p_?relu$", re.IGNORECASE)
_PARTS = re.compile(
    r"(?:^|_)(?:norm|act|activation|layer|block|module|net|network|backbone|encoder|decoder|model|conv|op|fn|func|cls|class|drop|dropout"
    r"|factory|head|body|trunk|branch)s?(?:_|\d|$)|fn$|layers?$|blocks?$|_?class$",
    re.IGNORECASE,
)
"""Parameters that may stand for parts, or for what makes them."""
_PACKAGES = STANDARD | {
    "torch", "torchaudio", "numpy", "scipy", "cv2", "PIL", "einops", "matplotlib", "tqdm", "julius", "librosa", "soundfile", "sklearn",
    "pandas", "omegaconf", "yaml", "typing_extensions", "huggingface_hub", "skimage", "h5py", "packaging",
}  # fmt: skip
"""Packages that give a model nothing but layers of torch."""
_MOST_FILES = 4
"""Files of a project that are looked through one after another."""


def names_no_layers(project: Project, info: ClassInfo) -> bool:
    """Whether neither the file of a class nor what it imports names BatchNorm, Dropout or their like, and nothing is built from outside."""
    memory = project.memory.setdefault("wordless", {})
    if info not in memory:
        memory[info] = (
            all(base.startswith("torch.nn.") and not _LAYER.search(base) for base in info.externals)
            and not _takes_parts(info)
            and all(_is_wordless(project, owner.module, 0, set()) for owner in info.mro())
        )
    return bool(memory[info])


def _takes_parts(info: ClassInfo) -> bool:
    """Whether the constructor takes something that by its name may be a module, or a class of one."""
    found = info.method("__init__")
    if found is None:
        return False
    spec = found[1].args
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs][1:]
    return spec.vararg is not None or spec.kwarg is not None or any(_PARTS.search(item.arg) for item in named)


def _is_wordless(project: Project, module: SourceModule, depth: int, seen: set[str]) -> bool:
    if module.path in seen:
        return True
    seen.add(module.path)
    if depth > _MOST_FILES:
        return False
    for node in walk(module.tree):
        if isinstance(node, ast.ImportFrom) and any(item.name == "*" for item in node.names):
            return False
        for word in _words(node):
            if _LAYER.search(word) and not _HARMLESS.search(word):
                return False
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "eval", "exec", "__import__"}:
            return False
    return all(_is_wordless_import(project, module, dotted, depth, seen) for dotted in module.imports.values())


def _words(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 40 and " " not in node.value:
        return [node.value] if len(node.value) > 3 else []
    if isinstance(node, ast.alias):
        return [node.name.rpartition(".")[2]]
    return [node.name] if isinstance(node, ast.ClassDef | ast.FunctionDef) else []


def _is_wordless_import(project: Project, module: SourceModule, dotted: str, depth: int, seen: set[str]) -> bool:
    if dotted.partition(".")[0] in _PACKAGES:
        return True
    found = project.resolve(dotted, module)
    if isinstance(found, str):
        return False
    other = found if isinstance(found, SourceModule) else found.module if isinstance(found, ClassInfo) else found[0]
    return _is_wordless(project, other, depth + 1, seen)
