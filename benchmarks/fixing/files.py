"""The files that mistakes are planted in: model files of installed packages, copied, and the programs of this repository."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scripts.labels import corpus

__all__ = ["CORPUS", "Source", "own_sources", "package_sources", "rule_sources", "script_sources"]

CORPUS = Path(__file__).with_name("corpus")
"""Model files written for this, in many styles, by an author who did not know how fixes are made."""
_MOST_TRIED = 6
"""Factories of a file that are built to find the smallest."""
_FETCHING = ("torchvision.models.detection", "torchvision.models.segmentation", "torchvision.models.quantization")
"""Packages whose factories fetch weights of a backbone, or build quantized models, when they are called without arguments."""
_SMALL = re.compile(r"atto|femto|pico|nano|micro|tiny|xxs|xs|small|mini|_0|_s\b|18|050|b0|lite")


@dataclass(frozen=True, slots=True)
class Source:
    """A sound file, or one with a mistake that its author knows."""

    name: str
    """What to call it in a table."""
    text: str
    target: str
    """Class or factory in it; empty for every model that is found."""
    inputs: tuple[str, ...] = ()
    context: tuple[tuple[str, str], ...] = ()
    rule: str = ""
    """The rule that finds something in it as it stands; empty for a sound file."""
    mended: str = ""
    """The same without the mistake, where its author wrote that down."""
    script: bool = False
    path: Path | None = None
    """A file or folder of the corpus, whose mistakes stand in it already."""


def package_sources(package: str) -> Iterator[Source]:
    """One source per model file of ``torchvision`` or ``timm``, with its smallest model, imports made absolute."""
    for module, factories in _factories(package).items():
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py") or module.startswith(_FETCHING):
            continue
        path = Path(spec.origin)
        text = _standing_alone(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
        smallest = _smallest(module, factories)
        if smallest is not None:
            yield Source(f"{package} {module.rpartition('.')[2]}", text, smallest)


def _factories(package: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if package == "timm":
        import timm  # noqa: PLC0415 - only the package asked for is imported

        for name in timm.list_models():
            found.setdefault(timm.model_entrypoint(name).__module__, []).append(name)
    else:
        from torchvision import models  # noqa: PLC0415

        for name in models.list_models():
            builder = models.get_model_builder(name)
            found.setdefault(builder.__module__, []).append(builder.__name__)
    return found


def _smallest(module: str, factories: list[str]) -> str | None:
    """Of the factories that sound small, the one with the fewest parameters, with BatchNorm if any has it."""
    import torch  # noqa: PLC0415

    home = importlib.import_module(module)
    sizes: dict[str, tuple[bool, int]] = {}
    for name in sorted(factories, key=lambda item: ("bn" not in item, _SMALL.search(item) is None, len(item)))[:_MOST_TRIED]:
        try:
            with torch.device("meta"):
                model = getattr(home, name)()
        except Exception:  # noqa: BLE001 - one that needs more than a call is not used
            continue
        plain = not any(isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) for layer in model.modules())  # noqa: SLF001
        sizes[name] = (plain, sum(parameter.numel() for parameter in model.parameters()))
    return min(sizes, key=lambda name: sizes[name]) if sizes else None


def _standing_alone(text: str, module: str, *, is_package: bool) -> str:
    """The file with absolute imports and, for torchvision, without registering its models a second time."""
    parts = module.split(".") if is_package else module.split(".")[:-1]
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level:
            home = ".".join(parts[: len(parts) - node.level + 1])
            dotted = ".".join(part for part in (home, node.module) if part)
            lines[node.lineno - 1] = re.sub(r"from\s+\.+[\w.]*", f"from {dotted}", lines[node.lineno - 1], count=1)
    if module.startswith("torchvision"):
        lines = [line for line in lines if not line.startswith("@register_model(")]
    return "\n".join(lines)


def rule_sources() -> Iterator[Source]:
    """The bad examples of all rules, each with its mended form."""
    from normadvisor import load_rules  # noqa: PLC0415

    for rule in load_rules().rules.values():
        for position, example in enumerate(rule.examples.bad):
            if rule.fix is None and (rule.script is None or rule.script.fix is None):
                continue
            fixed = rule.examples.fixed[position] if position < len(rule.examples.fixed) else None
            yield Source(
                name=f"{rule.id} example {position + 1}",
                text=example.code,
                target=example.model or "",
                inputs=tuple(example.inputs),
                context=tuple((key, str(value)) for key, value in example.context.items()),
                rule=rule.id,
                mended=fixed.code if fixed is not None else "",
                script=(example.scope or rule.scope) == "script",
            )


def script_sources() -> Iterator[Source]:
    """The scripts of the labelled corpus that stand in one file, once for each rule that must find something in them."""
    for script in corpus():
        rules = dict.fromkeys(label.rule for label in script.labels if label.kind == "expect")
        if len(script.files) == 1 and script.files[0].suffix == ".py":
            text = script.files[0].read_text(encoding="utf-8")
            yield from (Source(f"{script.name} {rule}", text, "", rule=rule, script=True) for rule in rules)


def own_sources() -> Iterator[Source]:
    """The model files of the corpus; a folder is one source."""
    for path in sorted(CORPUS.iterdir()):
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py"))):
            yield Source(path.stem, "", "", path=path)
