"""Losses: functions, objects and classes of projects; what reaches them, and backward passes from them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from normadvisor.script.library.flow import gathered, maker_of, mark_used
from normadvisor.script.library.registry import built, called, extern, method, prefix
from normadvisor.script.library.syntax import called_as
from normadvisor.script.values import NOTHING, Arguments, Bound, Data, Place, Ref, Value

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["FUNCTIONS", "LAYERS", "loss_kind", "record_loss"]

FUNCTIONS = {
    "cross_entropy": "cross_entropy",
    "nll_loss": "nll",
    "binary_cross_entropy": "bce",
    "binary_cross_entropy_with_logits": "bce_with_logits",
    "mse_loss": "mse",
    "l1_loss": "l1",
    "smooth_l1_loss": "huber",
    "huber_loss": "huber",
    "kl_div": "kl_div",
    "gaussian_nll_loss": "gaussian_nll",
    "poisson_nll_loss": "poisson_nll",
    "multilabel_soft_margin_loss": "bce_with_logits",
    "soft_margin_loss": "soft_margin",
    "multi_margin_loss": "multi_margin",
    "multilabel_margin_loss": "multilabel_margin",
    "hinge_embedding_loss": "hinge",
    "margin_ranking_loss": "margin_ranking",
    "triplet_margin_loss": "triplet",
    "triplet_margin_with_distance_loss": "triplet",
    "cosine_embedding_loss": "cosine",
    "ctc_loss": "ctc",
}
"""Losses of ``torch.nn.functional`` and what they are called in events."""
LAYERS = {
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll",
    "NLLLoss2d": "nll",
    "BCELoss": "bce",
    "BCEWithLogitsLoss": "bce_with_logits",
    "MSELoss": "mse",
    "L1Loss": "l1",
    "SmoothL1Loss": "huber",
    "HuberLoss": "huber",
    "KLDivLoss": "kl_div",
    "GaussianNLLLoss": "gaussian_nll",
    "PoissonNLLLoss": "poisson_nll",
    "MultiLabelSoftMarginLoss": "bce_with_logits",
    "SoftMarginLoss": "soft_margin",
    "MultiMarginLoss": "multi_margin",
    "MultiLabelMarginLoss": "multilabel_margin",
    "HingeEmbeddingLoss": "hinge",
    "MarginRankingLoss": "margin_ranking",
    "TripletMarginLoss": "triplet",
    "TripletMarginWithDistanceLoss": "triplet",
    "CosineEmbeddingLoss": "cosine",
    "CTCLoss": "ctc",
    "AdaptiveLogSoftmaxWithLoss": "adaptive",
}
"""Losses of ``torch.nn``."""
_LIBRARIES = {
    "timm.loss.LabelSmoothingCrossEntropy": "cross_entropy",
    "timm.loss.SoftTargetCrossEntropy": "cross_entropy",
    "timm.loss.BinaryCrossEntropy": "bce_with_logits",
    "timm.loss.JsdCrossEntropy": "cross_entropy",
    "timm.loss.AsymmetricLossMultiLabel": "bce_with_logits",
    "timm.loss.AsymmetricLossSingleLabel": "cross_entropy",
    "segmentation_models_pytorch.losses.SoftCrossEntropyLoss": "cross_entropy",
    "segmentation_models_pytorch.losses.SoftBCEWithLogitsLoss": "bce_with_logits",
    "monai.losses.DiceLoss": "other",
}
_FUNCTIONS_ELSEWHERE = {
    "torchvision.ops.sigmoid_focal_loss": "bce_with_logits",
    "torchvision.ops.focal_loss.sigmoid_focal_loss": "bce_with_logits",
}
_LOSS_CLASS = re.compile(r"(Loss|Criterion|CrossEntropy|BCE|Objective)\w*$")
_LOSS_NAME = re.compile(r"(^|[._])(criterion|criteria|loss|crit|objective)\w*$|_loss(_?(fn|func|function))?$", re.IGNORECASE)


def loss_kind(name: str) -> str | None:
    """The kind of a loss by its dotted name."""
    short = name.rpartition(".")[2]
    if name.startswith("torch.nn.functional.") or name == f"torch.{short}":
        return FUNCTIONS.get(short)
    if name.startswith("torch.nn."):
        return LAYERS.get(short)
    return _LIBRARIES.get(name) or _FUNCTIONS_ELSEWHERE.get(name)


def record_loss(machine: Machine, state: State, kind: str, value: Value, place: Place, built_at: Place | None = None) -> Event:
    """Note a call of a loss with its input."""
    data = gathered(machine, state, [value], keep=True)
    mark_used(machine, state, [data], "judged")
    maker = maker_of(machine, data)
    inside = data.activation is not None and _in_model(data, maker)
    event = machine.record(
        "loss_call",
        place,
        loss=kind,
        activation=data.activation,
        through_model=inside,
        through_function=(
            data.activation is not None and not inside and data.activation_at is not None and data.activation_at.function != place.function
        ),
        model=maker.attributes.get("model") if maker is not None else None,
        class_name=maker.attributes.get("class_name") if maker is not None else None,
        function=place.function,
        _model=maker.attributes.get("_model") if maker is not None else None,
    )
    if data.activation is not None and data.activation_at is not None:
        what = f"{data.activation} is the last layer of the model" if inside else f"{data.activation} is applied here"
        event.places.setdefault("activation", (data.activation_at.location, what))
    if built_at is not None and built_at.location != place.location:
        event.places.setdefault("loss", (built_at.location, "the loss is built here"))
    return event


def _in_model(data: Data, maker: Event | None) -> bool:
    """Whether the activation stands inside the model that made the data, not where the script applies something to the output."""
    if data.activation_at is None:
        return True
    if maker is None:
        return False
    # A model that ends in an activation at an unknown place has it at its call.
    return data.activation_at.location == maker.location or data.activation_at.function == maker.attributes.get("class_name")


def _loss_data(machine: Machine, state: State, arguments: Arguments) -> Data:
    data = gathered(machine, state, arguments.values())
    return replace(data, origins=data.origins | {"loss"}, about=None)


def _input(arguments: Arguments) -> Value:
    return arguments.get(0, "input", "logits", "inputs", "output", "preds", "x", "y_pred") or NOTHING


@extern(*(f"torch.nn.functional.{name}" for name in FUNCTIONS), *_FUNCTIONS_ELSEWHERE)
def loss_function(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``F.cross_entropy(output, target)``."""
    record_loss(machine, state, loss_kind(name) or "other", _input(arguments), place)
    return _loss_data(machine, state, arguments)


@extern("torch.nll_loss", "torch.binary_cross_entropy_with_logits", "torch.kl_div", "torch.ctc_loss")
def loss_of_torch(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """The same functions in the main namespace."""
    return loss_function(machine, state, name, arguments, place)


@extern(*(f"torch.nn.{name}" for name in LAYERS), *_LIBRARIES)
def loss_layer(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value:
    """``nn.CrossEntropyLoss()``."""
    ref = machine.new(state, "loss", place, name=name.rpartition(".")[2], extern=name, arguments=arguments)
    machine.things[ref.address].facts["loss"] = loss_kind(name) or "other"
    return ref


@prefix("timm.loss.", "segmentation_models_pytorch.losses.", "segmentation_models_pytorch.utils.losses.", "monai.losses.", "kornia.losses.",
        "pytorch_metric_learning.losses.")  # fmt: skip
def other_loss(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """A loss of another library."""
    return loss_layer(machine, state, name, arguments, place) if name.rpartition(".")[2][:1].isupper() else None


def _base_kind(info: ClassInfo) -> str | None:
    """The kind of the torch loss that a class extends."""
    for base in sorted(info.externals):
        short = base.rpartition(".")[2]
        if base.startswith("torch.nn.") and short in LAYERS:
            return LAYERS[short]
        if base in _LIBRARIES:
            return _LIBRARIES[base]
        if base.startswith("torch.nn.") and short in {"_Loss", "_WeightedLoss"}:
            return "other"
    return None


@built
def project_loss(machine: Machine, state: State, cls: ClassInfo, arguments: Arguments, place: Place) -> Value | None:
    """A loss class of the project: extends one of torch, or is a module named as a loss that builds no layers of its own."""
    kind = _base_kind(cls)
    if kind is None and not (cls.is_module and _LOSS_CLASS.search(cls.name) and not cls.framework and _only_computes(machine, cls)):
        return None
    # An instance, not a module: its methods are executed, as nothing in them depends on the mode.
    ref = machine.new(state, "instance", place, name=cls.name, cls=cls, arguments=arguments)
    machine.things[ref.address].facts["loss"] = kind or "other"
    if cls.method("__init__") is not None:
        machine.run(state, Bound(ref, "__init__"), arguments, place)
    return ref


def _only_computes(machine: Machine, cls: ClassInfo) -> bool:
    """Whether nothing in a class depends on the mode: a perceptual loss with a network inside is a model."""
    from normadvisor.script.project.contents import contents_of_class  # noqa: PLC0415 - looks into models, which look into losses

    contents = contents_of_class(machine.project, cls)
    return "yes" not in {contents.batchnorm, contents.dropout, contents.other}


@called("loss", "instance")
def loss_call(machine: Machine, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:
    """``criterion(output, target)``."""
    thing = machine.things[ref.address]
    kind = thing.facts.get("loss")
    if kind is None:
        return None
    if thing.cls is not None and thing.cls.method("forward") is not None:
        return _project_call(machine, state, ref, kind, arguments, place)
    if kind != "other":
        record_loss(machine, state, kind, _input(arguments), place, thing.place)
    return _loss_data(machine, state, arguments)


@method("forward", "__call__")
def loss_forward(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``criterion.forward(output, target)``, and ``super().forward(output, target)`` in a class that extends a loss."""
    del name
    thing = machine.thing(receiver)
    if thing is None or "loss" not in thing.facts:
        return None
    if thing.facts["loss"] != "other":
        record_loss(machine, state, thing.facts["loss"], _input(arguments), place, thing.place)
    return _loss_data(machine, state, arguments)


def _project_call(machine: Machine, state: State, ref: Ref, kind: str, arguments: Arguments, place: Place) -> Value:
    """Run the ``forward`` of a loss of the project. A subclass that computes all by itself counts as what it extends."""
    before = len(machine.events)
    result = machine.run(state, Bound(ref, "forward"), arguments, place)
    if kind != "other" and not any(event.kind == "loss_call" for event in machine.events[before:]):
        record_loss(machine, state, kind, _input(arguments), place, machine.things[ref.address].place)
    data = gathered(machine, state, [result, *arguments.values()])
    return replace(data, origins=data.origins | {"loss"}, about=None)


@called("opaque")
def unknown_loss(machine: Machine, state: State, ref: Ref, arguments: Arguments, place: Place) -> Value | None:
    """``criterion(output, target)`` where the criterion is a parameter of a function that nobody calls."""
    del ref
    given = [*arguments.values()]
    if len(given) < 2 or not _LOSS_NAME.search(called_as(place)):
        return None
    return _loss_data(machine, state, arguments)
