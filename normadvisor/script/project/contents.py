"""Which layers that depend on the mode a model holds: found by reading the code that builds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from normadvisor.types.location import Location

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.project.modules import FunctionNode, Project, SourceModule
    from normadvisor.script.values import Arguments

__all__ = [
    "NOTHING_HELD", "UNKNOWN_CONTENTS", "Contents", "Held", "Layer", "contents_of_class", "contents_of_extern", "contents_of_function",
    "union",
]  # fmt: skip

Held: TypeAlias = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer and where it is built."""

    name: str
    """Class name: ``BatchNorm2d``."""
    location: Location | None
    """``None`` for a layer inside an installed package."""
    kind: Literal["batchnorm", "dropout", "other", "norm"]
    """What it is in train mode: uses batch statistics, is random, depends on the mode in another way, or does not (LayerNorm)."""

    def __str__(self) -> str:
        """``BatchNorm2d at net.py:14``."""
        return f"{self.name} at {self.location.path}:{self.location.line}" if self.location else self.name


@dataclass(frozen=True, slots=True)
class Contents:
    """The layers of a model, as far as its behaviour in train and in eval mode depends on them."""

    batchnorm: Held = "no"
    """BatchNorm with running statistics."""
    dropout: Held = "no"
    """Active dropout, drop path or another layer that is random in train mode."""
    other: Held = "no"
    """Another layer whose output depends on the mode: InstanceNorm with running statistics, spectral norm."""
    layers: tuple[Layer, ...] = ()
    """What depends on the mode: each place once."""
    norms: tuple[Layer, ...] = ()
    """Every norm layer, also those that do not depend on the mode."""
    ends_with: str | None = None
    """The activation that makes every output: ``softmax``, ``log_softmax``, ``sigmoid`` ..."""
    ends_at: Location | None = None
    ends_each: tuple[tuple[str | None, Location | None], ...] = ()
    """The same of each output, for a forward that always returns a tuple of one length."""
    batchnorm_over_features: Held = "no"
    """A BatchNorm whose statistics see one value per sample: after a linear layer or a global pooling."""
    reads_training: bool = False
    """Its code asks for ``self.training``."""

    @property
    def mode_dependent(self) -> Held:
        """Whether any of its outputs depends on the mode."""
        held = {self.batchnorm, self.dropout, self.other}
        return "yes" if "yes" in held else "unknown" if "unknown" in held else "no"


NOTHING_HELD = Contents()
UNKNOWN_CONTENTS = Contents("unknown", "unknown", "unknown", batchnorm_over_features="unknown")
"""Of a model that cannot be looked into."""


def union(*parts: Contents) -> Contents:
    """What a whole holds that has these parts. How it ends is not known from its parts."""
    return replace(
        NOTHING_HELD,
        batchnorm=_any(part.batchnorm for part in parts),
        dropout=_any(part.dropout for part in parts),
        other=_any(part.other for part in parts),
        layers=tuple(dict.fromkeys(layer for part in parts for layer in part.layers)),
        norms=tuple(dict.fromkeys(layer for part in parts for layer in part.norms)),
        batchnorm_over_features=_any(part.batchnorm_over_features for part in parts),
        reads_training=any(part.reads_training for part in parts),
    )


def _any(held: Iterable[Held]) -> Held:
    found = set(held)
    return "yes" if "yes" in found else "unknown" if "unknown" in found else "no"


def contents_of_class(project: Project, info: ClassInfo, arguments: Arguments | None = None) -> Contents:
    """What an object of a project class holds.

    Args:
        project: where its parts are looked up.
        info: the class.
        arguments: what it is built with; without them every parameter has its default.

    """
    from normadvisor.script.project.abstract import imported  # noqa: PLC0415 - these need the classes above
    from normadvisor.script.project.construct import Builder  # noqa: PLC0415
    from normadvisor.script.project.wordless import names_no_layers  # noqa: PLC0415

    def read() -> Contents:
        builder = Builder(project)
        built = builder.construct(info, imported(arguments), None, 0)
        found = getattr(built, "contents", None)
        return found if isinstance(found, Contents) else builder.gather.contents()

    if info.is_module is False:
        return NOTHING_HELD
    result = _remembered(project, info, arguments, read)
    held = {result.batchnorm, result.dropout, result.other}
    if "unknown" in held and "yes" not in held and names_no_layers(project, info):
        return replace(result, batchnorm="no", dropout="no", other="no", batchnorm_over_features="no")
    return result


def contents_of_function(project: Project, module: SourceModule, node: FunctionNode, arguments: Arguments | None = None) -> Contents:
    """What the model holds that a factory function of the project builds."""
    from normadvisor.script.project.abstract import Call, Code, imported, options  # noqa: PLC0415 - as above
    from normadvisor.script.project.construct import Builder  # noqa: PLC0415
    from normadvisor.script.project.endings import function_ending  # noqa: PLC0415
    from normadvisor.script.project.evaluate import Frame  # noqa: PLC0415

    def read() -> Contents:
        builder = Builder(project)
        returned = builder.call_code(Frame(module), Code(module, node), imported(arguments) or Call())
        builder.attach(returned)
        end = function_ending(builder, list(options(returned)))
        return replace(builder.gather.contents(), ends_with=end.activation, ends_at=end.location if end.activation else None)

    return _remembered(project, node, arguments, read)


def contents_of_extern(name: str, arguments: Arguments | None = None) -> Contents | None:
    """What a model holds that a library builds: ``torchvision.models.resnet18``, ``torch.nn.LSTM``; ``None`` if nothing is known."""
    from normadvisor.script.project.abstract import Call, imported  # noqa: PLC0415 - as above
    from normadvisor.script.project.known import contents_of_extern_call, contents_of_layer  # noqa: PLC0415

    call = imported(arguments) or Call()
    return contents_of_layer(name, call) or contents_of_extern_call(name, call)


def _remembered(project: Project, thing: object, arguments: Arguments | None, read: Callable[[], Contents]) -> Contents:
    """Run an analysis once for the same arguments; what code holds that is too deep or too long for it is not known."""
    from normadvisor.script.project.abstract import Items, Table, frozen, imported  # noqa: PLC0415 - as above
    from normadvisor.script.project.evaluate import TooMuchError  # noqa: PLC0415

    call = imported(arguments)
    given = None if call is None else (frozen(Items(list(call.positional))), frozen(Table(dict(call.named))), call.open)
    known = project.memory.setdefault("contents", {})
    found = known.get((thing, given))
    if not isinstance(found, Contents):
        try:
            found = read()
        except (RecursionError, TooMuchError):
            found = UNKNOWN_CONTENTS
        known[thing, given] = found
    return found
