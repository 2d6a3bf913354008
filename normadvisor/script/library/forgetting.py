"""Code that cannot be seen: which of it leaves models as they are, and what is forgotten when the rest gets one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from normadvisor.script.library import modes
from normadvisor.script.library.flow import gathered
from normadvisor.script.library.models import models_in
from normadvisor.script.library.names import last
from normadvisor.script.library.registry import extern
from normadvisor.script.values import NOTHING, Arguments, Place, Thing, Value

if TYPE_CHECKING:
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["HARMLESS_METHODS", "forget", "forget_used", "harmless_call", "is_harmless"]

_HARMLESS_STARTS = (
    "torch.optim.", "torch.utils.data.", "torch.utils.tensorboard.", "torch.nn.utils.", "torch.nn.init.", "torch.nn.functional.",
    "torch.cuda.",
    "torch.distributed.", "torch.backends.", "torch.random.", "torch.amp.", "torch.profiler.", "torch.autograd.", "torch.save", "torch.sum",
    "numpy.", "pandas.", "matplotlib.", "seaborn.", "PIL.", "cv2.", "sklearn.metrics.", "scipy.", "os.", "sys.", "logging.", "json.",
    "yaml.",
    "time.", "math.", "random.", "collections.", "itertools.", "functools.", "pathlib.", "shutil.", "argparse.", "warnings.", "re.", "gc.",
    "typing.", "dataclasses.", "inspect.", "pprint.", "copy.", "pickle.", "string.", "datetime.", "contextlib.", "operator.", "types.",
    "torchmetrics.", "torchvision.transforms.", "torchvision.utils.", "torchvision.ops.", "torchvision.datasets.", "timm.data.",
    "timm.optim.",
    "timm.scheduler.", "timm.loss.", "transformers.get_", "transformers.optimization.", "wandb.", "mlflow.log", "tensorboardX.",
    "comet_ml.",
    "neptune.", "loguru.", "rich.", "tqdm", "psutil.", "accelerate.utils.", "torch_optimizer.", "bitsandbytes.optim.", "lion_pytorch.",
    "safetensors.", "einops.", "imageio.", "skimage.", "nltk.", "sacrebleu.", "evaluate.", "peft.utils.", "torch.nn.parameter.", "pdb.",
    "torch.futures.", "multiprocessing.shared_memory.", "hydra.utils.instantiate.", "omegaconf.", "click.", "fvcore.nn.flop",
)  # fmt: skip
_HARMLESS = frozenset(
    {
        "print", "len", "isinstance", "issubclass", "id", "hash", "repr", "str", "type", "hasattr", "callable", "vars", "dir", "list",
        "tuple",
        "dict", "set", "zip", "enumerate", "sorted", "sum", "max", "min", "any", "all", "filter", "map", "iter", "next", "format", "bool",
        "setattr", "getattr", "super", "range", "reversed", "abs", "round", "open", "input", "float", "int", "frozenset",
    }
)  # fmt: skip
_RESTORING = frozenset(
    {
        "thop.profile", "thop.clever_format", "torchinfo.summary", "torchsummary.summary", "torchsummaryX.summary", "torchscan.summary",
        "ptflops.get_model_complexity_info", "fvcore.nn.parameter_count", "fvcore.nn.FlopCountAnalysis", "fvcore.nn.parameter_count_table",
        "torchviz.make_dot", "calflops.calculate_flops", "deepspeed.profiling.flops_profiler.get_model_profile", "torchview.draw_graph",
        "pytorch_model_summary.summary", "pytorch_model_summary.hierarchical_summary", "torch.utils.flop_counter.FlopCounterMode",
        "captum.attr.IntegratedGradients", "timm.utils.unwrap_model", "timm.utils.get_state_dict", "torch.nn.utils.parameters_to_vector",
        "torch.utils.model_zoo.load_url", "huggingface_hub.hf_hub_download", "torch.fx.symbolic_trace", "hiddenlayer.build_graph",
    }
)  # fmt: skip
"""Functions that look at a model, or that put back its mode when they are done."""
_HARMLESS_TAILS = (
    "Optimizer", "Adam", "AdamW", "SGD", "LRScheduler", "Scheduler", "Loss", "Criterion", "SummaryWriter", "Logger", "GradScaler",
    "EarlyStopping",
    "Meter", "Metric", "count_parameters", "num_params", "get_parameters", "save_checkpoint", "save_model", "load_checkpoint",
    "print_model",
    "set_seed", "seed_everything", "save_state_dict", "get_optimizer", "create_optimizer", "build_optimizer", "make_optimizer",
    "create_optimizer_v2",
)  # fmt: skip


HARMLESS_METHODS = frozenset(
    {
        "add_graph", "watch", "unwatch", "log", "info", "debug", "warning", "print", "save", "save_model", "save_checkpoint",
        "checkpoint", "register",
        "append", "add", "add_param_group", "log_model", "add_module", "update", "step", "unscale_", "clip_grad_norm_",
        "clip_grad_value_", "backward",
        "zero_grad", "set_model", "write", "summary", "no_sync", "accumulate", "join", "wait_for_everyone", "save_state", "load_state",
        "get_state_dict",
        "register_for_checkpointing", "free_memory", "clear", "attach", "write_model", "add_histogram", "add_scalar", "add_text", "items",
        "keys", "put",
    }
)  # fmt: skip
"""Methods of things nobody knows that by their name leave models as they are."""


def is_harmless(name: str) -> bool:
    """Whether an external function is known to leave the mode of models it is given as it is."""
    return name in _HARMLESS or name in _RESTORING or name.startswith(_HARMLESS_STARTS) or last(name).endswith(_HARMLESS_TAILS)


def harmless_call(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """The data that flow through a function which leaves models as they are; ``None`` for any other, which is then to be forgotten."""
    del place
    if not is_harmless(name):
        return None
    return gathered(machine, state, arguments.values())


def forget(machine: Machine, state: State, values: list[Value], place: Place) -> None:
    """The modes of all models that can be reached from values become unknown."""
    done: set[int] = set()
    for value in values:
        for thing in models_in(machine, state, value):
            if thing.address in done:
                continue
            done.add(thing.address)
            if thing.kind == "opaque" and thing.address not in state.modes:
                continue
            modes.doubt(machine, state, thing, place)


def forget_given(machine: Machine, state: State, name: str, arguments: Arguments, place: Place, keep: Thing | None = None) -> None:
    """Models given to a method of something nobody knows, unless the name of the method says that it leaves them as they are."""
    if name in HARMLESS_METHODS:
        return
    for model in {model.address: model for value in arguments.values() for model in models_in(machine, state, value)}.values():
        if model is not keep and model.kind == "module":
            modes.doubt(machine, state, model, place)


_AROUND = re.compile(
    r"(?:Net|Model|Classifier|Regressor|Module|Parallel|DDP|EMA|Ema|Encoder|Decoder|Segmentor|Segmenter|Head|Former|Average|Sequential|Ensemble"
    r"|Wrapper|Learner|Agent|GAN|VAE|SimCLR|BYOL|MoCo|DINO|Distiller|LightningModule|System|Task)\w{0,2}$"
)
"""Classes that by their names are networks around what they are given, and do not use it when they are built."""


def forget_used(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> None:
    """Models given to a class out of reach: what explains, predicts or checks with a model mostly puts it into eval mode."""
    if is_harmless(name) or _AROUND.search(last(name)):
        return
    for model in {model.address: model for value in arguments.values() for model in models_in(machine, state, value)}.values():
        if model.kind == "module":
            modes.doubt(machine, state, model, place)


@extern("torch.optim.swa_utils.update_bn", "timm.utils.update_bn", "fvcore.nn.update_bn_stats", "fvcore.nn.precise_bn.update_bn_stats")
def recalibrate(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Running statistics are estimated anew; the mode is put back afterwards."""
    del name
    for value in arguments.values():
        for thing in models_in(machine, state, value):
            state.marks[thing.address, "recalibrated"] = place
    return NOTHING


@extern("torch.save", "safetensors.torch.save_model", "safetensors.torch.save_file")
def save(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """A model or its weights are written; nothing changes."""
    del machine, state, name, arguments, place
    return NOTHING
