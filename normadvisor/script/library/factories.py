"""Where models come from: classes of the project, layers, factories, checkpoints, copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.script.knowledge import lookup
from normadvisor.script.library.containers import CONTAINERS, fill_container
from normadvisor.script.library.models import as_model, new_module
from normadvisor.script.library.names import last
from normadvisor.script.library.registry import extern
from normadvisor.script.project.bases import module_kind
from normadvisor.script.project.externals import STANDARD
from normadvisor.script.state import FRESH, UNKNOWN_MODE, Mode
from normadvisor.script.values import NOTHING, Arguments, Const, Place, Ref, Tuple, Value

if TYPE_CHECKING:
    from normadvisor.script.knowledge import Known
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["build_extern", "initial_mode", "is_module_name", "is_no_network"]

_EVALUATED_WHEN_LOADED = ("transformers.", "diffusers.", "peft.", "optimum.")
_NO_MODELS = (
    "Tokenizer", "TokenizerFast", "Processor", "Config", "FeatureExtractor", "Scheduler", "GenerationConfig", "Trainer", "Arguments",
    "Collator",
    "Dataset", "DataLoader", "Callback", "Parser", "Logger", "Writer", "Error", "Transform", "Compose", "Meter", "Metric", "Loss",
    "Criterion",
    "Optimizer", "Sampler", "Counter", "Path", "Timer", "Augmentation", "Streamer", "Args", "Params", "Options", "Environment", "Env",
    "Buffer",
)  # fmt: skip


_NO_NETWORKS = (
    "torchaudio.transforms.", "torchvision.transforms.", "torchmetrics.", "kornia.", "torchio.", "torch_audiomentations.",
    "audiomentations.",
    "monai.losses.", "monai.metrics.", "monai.transforms.", "segmentation_models_pytorch.losses.",
    "segmentation_models_pytorch.metrics.", "segmentation_models_pytorch.utils.",
    "pytorch_metric_learning.losses.", "pytorch_metric_learning.miners.", "timm.loss.", "piq.",
    "pytorch_msssim.", "torch_optimizer.", "albumentations.", "nnAudio.", "speechbrain.processing.", "speechbrain.lobes.features.",
)  # fmt: skip
"""Where transforms, metrics and losses come from: modules, some of them, but none with layers that depend on the mode as networks have."""


def is_no_network(name: str) -> bool:
    """Whether an external class makes a transform, a metric or a loss."""
    return name.startswith(_NO_NETWORKS)


def is_module_name(name: str) -> bool:
    """Whether an external class or factory makes modules."""
    if is_no_network(name):
        return False
    if module_kind(name) is True:
        return True
    known = lookup(name)
    return known is not None and known.kind in {"class", "factory"}


def initial_mode(name: str, place: Place) -> Mode:
    """The mode in which a library gives a model to its caller."""
    known = lookup(name)
    if known is None:
        return FRESH if module_kind(name) is True else UNKNOWN_MODE
    return {"train": FRESH, "eval": Mode("eval", "eval", place)}.get(known.initial_mode, UNKNOWN_MODE)


def build_extern(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """A model made by an external class or factory; ``None`` if it makes none."""
    if is_no_network(name):
        return machine.new(state, "other", place, name=last(name), extern=name, arguments=arguments) if last(name)[:1].isupper() else None
    known = lookup(name)
    if known is not None:
        return _known(machine, state, known, arguments, place)
    owner, _, tail = name.rpartition(".")
    if tail in {"from_pretrained", "from_config"} and last(owner)[:1].isupper() and not last(owner).endswith(_NO_MODELS):
        mode = UNKNOWN_MODE
        if name.startswith(_EVALUATED_WHEN_LOADED):
            mode = Mode("eval", "eval", place) if tail == "from_pretrained" else FRESH
        return _from_factory(machine, state, name, arguments, place, mode, weights="loaded" if tail == "from_pretrained" else "fresh")
    kind = module_kind(name)
    if kind is True and tail[:1].isupper():
        ref = _from_factory(machine, state, name, arguments, place, FRESH)
        if name in CONTAINERS:
            fill_container(machine, state, machine.things[ref.address], arguments)
        return ref
    camel = tail[:1].isupper()
    if kind is None and camel and not tail.endswith(_NO_MODELS) and name.partition(".")[0] not in STANDARD:
        # A class out of reach. It is a model if it is used like one, and then it was built in train mode.
        ref = machine.new(state, "opaque", place, name=name, extern=name, arguments=arguments)
        machine.things[ref.address].facts["fresh"] = True
        state.modes[ref.address] = FRESH
        return ref
    return None


def _known(machine: Machine, state: State, known: Known, arguments: Arguments, place: Place) -> Value | None:
    """A model of a library that is known."""
    if known.kind == "framework":
        return machine.new(state, "framework", place, name=known.name, extern=known.name, arguments=arguments)
    if known.kind == "wrapper":
        model = arguments.get(0, "model", "module")
        return model if model is not None and as_model(machine, model) is not None else None
    ref = _from_factory(machine, state, known.name, arguments, place, initial_mode(known.name, place), weights=known.weights)
    return Tuple((ref,), NOTHING) if known.kind == "pair" else ref


_WEIGHTS = ("pretrained", "weights", "encoder_weights", "weights_backbone", "checkpoint_path")
_NO_WEIGHTS = (Const(False), Const(None), Const(""))


def _from_factory(
    machine: Machine, state: State, name: str, arguments: Arguments, place: Place, mode: Mode, *, weights: str = "argument"
) -> Ref:
    shown = name.removesuffix(".from_pretrained").removesuffix(".from_config")
    ref = new_module(machine, state, place, name=shown, mode=mode, extern=name, arguments=arguments)
    thing = machine.things[ref.address]
    given = arguments.get(None, *_WEIGHTS)
    if given is None and name.startswith(("timm.create_model", "torchvision.models.")) and not last(name)[:1].isupper():
        given = arguments.get(1 if name.startswith("timm") else 0)
    if given is None and name.startswith("segmentation_models_pytorch."):
        given = Const("imagenet")  # what encoder_weights is unless it is given
    thing.facts["fresh"] = weights != "unknown" and (weights != "argument" or arguments.complete)
    if weights == "loaded" or (weights == "argument" and given is not None and given not in _NO_WEIGHTS):
        state.marks[ref.address, "loaded"] = place
    return ref


@extern("torch.load", "joblib.load", "pickle.load", "dill.load", "torch.hub.load_state_dict_from_url")
def load(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:  # noqa: ARG001
    """A checkpoint: a whole model in the mode in which it was saved, or a dictionary that holds weights."""
    ref = machine.new(state, "opaque", place, name=name, extern=name)
    machine.things[ref.address].facts["checkpoint"] = True
    state.marks[ref.address, "loaded"] = place
    return ref


@extern("torch.jit.load", "torch.package.PackageImporter.load_pickle", "torch.export.load")
def load_program(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """An exported model: its mode is the one of the export."""
    ref = new_module(machine, state, place, name=name, mode=UNKNOWN_MODE, extern=name, arguments=arguments)
    state.marks[ref.address, "loaded"] = place
    return ref


@extern("torch.hub.load")
def load_from_hub(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """A model built by the code of another repository; that of torchvision is known."""
    repository, entry = arguments.get(0, "repo_or_dir", "github"), arguments.get(1, "model")
    if isinstance(repository, Const) and isinstance(entry, Const) and str(repository.value).startswith("pytorch/vision"):
        rest = Arguments((), arguments.named, arguments.star, arguments.double_star)
        built = build_extern(machine, state, f"torchvision.models.{entry.value}", rest, place)
        if built is not None:
            return built
    ref = new_module(machine, state, place, name=name, mode=UNKNOWN_MODE, extern=name, arguments=arguments)
    state.marks[ref.address, "loaded"] = place
    return ref
