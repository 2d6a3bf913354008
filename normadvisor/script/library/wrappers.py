"""What gives a model back as the same object: moves, data parallel wrappers, compilers, engines; and averaged copies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from normadvisor.script.library import containers, modes
from normadvisor.script.library.copies import deepcopy
from normadvisor.script.library.distributed import record_conversion, record_wrap
from normadvisor.script.library.flow import gathered
from normadvisor.script.library.models import STAND_IN, as_model, models_in
from normadvisor.script.library.names import canonical
from normadvisor.script.library.registry import built, extern, method
from normadvisor.script.values import NOTHING, Arguments, Choice, Const, Place, Ref, Thing, Tuple, Value, choice, members

if TYPE_CHECKING:
    from normadvisor.script.project.classes import ClassInfo
    from normadvisor.script.protocol import Machine
    from normadvisor.script.state import State

__all__ = ["keep", "same_object", "wrap"]


@method(
    "to", "cuda", "cpu", "half", "float", "double", "bfloat16", "xpu", "npu", "hpu", "mps", "share_memory", "to_empty", "type", "ipu",
    "compile", "merge_and_unload", "merge_adapter", "to_bettertransformer", "zero_grad", "gradient_checkpointing_enable", "tie_weights",
    "enable_input_require_grads", "gradient_checkpointing_disable", "resize_token_embeddings", "set_swish", "fuse", "bind", "fuse_lora",
    "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook", "register_backward_hook", "add_module",
    "register_buffer", "register_parameter", "save_pretrained", "push_to_hub", "print_trainable_parameters", "init_weights",
    "reset_parameters",
)  # fmt: skip
def keep(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Methods of a model that leave its mode as it is; those that move or convert it return it."""
    thing = as_model(machine, receiver)
    if thing is None:
        return None
    if name in _RETURNING:
        if thing.kind == "opaque" and name in {"to", "cuda"} and thing.facts.get("fresh") and _names_weights(thing):
            thing.kind = "module"
        return Ref(thing.address)
    if name == "add_module" and len(arguments.positional) > 1:
        _add_part(machine, state, thing, arguments)
    if name == "init_weights" and (thing.cls is not None or thing.kind == "opaque"):
        return None
    del place
    return NOTHING


def _names_weights(thing: Thing) -> bool:
    """Whether something was built with weights, which transforms and filters that are moved to a device have not."""
    return thing.arguments is not None and any(_WEIGHTS.search(name) for name, _ in thing.arguments.named)


_WEIGHTS = re.compile(r"pretrain|weight|checkpoint|ckpt|num_classes|n_classes|in_channels|out_channels|hidden|embed_dim|num_layers")
_RETURNING = frozenset(
    {"to", "cuda", "cpu", "half", "float", "double", "bfloat16", "xpu", "npu", "hpu", "mps", "share_memory", "to_empty", "type", "ipu"}
    | {"merge_and_unload", "to_bettertransformer", "fuse", "bind"}
)


def _add_part(machine: Machine, state: State, thing: Thing, arguments: Arguments) -> None:
    name, part = arguments.positional[:2]
    if isinstance(name, Const) and as_model(machine, part) is not None:
        state.fields[thing.address, str(name.value)] = part


@method("append", "extend", "insert", "register_module", "update", "add_module")
def add_part(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``nn.ModuleList.append`` and its like: a part is added."""
    del place
    thing = as_model(machine, receiver)
    if thing is None or thing.kind != "module" or thing.facts.get(STAND_IN):
        return None
    given = arguments.positional
    if name in {"append", "insert"} and given:
        containers.add_item(machine, state, thing, given[-1])
        return Ref(thing.address)
    if name in {"extend", "update"} and given:
        containers.add_items(machine, state, thing, given[0])
        return Ref(thing.address)
    thing.facts.pop("container", None)
    return NOTHING


def same_object(machine: Machine, value: Value) -> Value:
    """A value without what else may come with it: the model itself where there is one."""
    if isinstance(value, Choice):
        found = [member for member in value.values if as_model(machine, member) is not None]
        return choice(found) if found else value
    return value


_MODEL_NAMES = ("module", "model", "net", "mod", "nn_module", "self", "models", "func", "obj")


@extern(
    "torch.compile", "torch._dynamo.optimize", "torch.nn.parallel.replicate", "torch.nn.utils.fusion.fuse_conv_bn_eval",
    "torch.nn.utils.spectral_norm", "torch.nn.utils.weight_norm", "torch.nn.utils.parametrizations.spectral_norm",
    "torch.nn.utils.parametrizations.weight_norm", "torch.nn.utils.parametrizations.orthogonal",
    "torch.nn.utils.parametrize.register_parametrization",
    "torch.ao.quantization.fuse_modules", "torch.quantization.fuse_modules", "torch.ao.quantization.fuse_modules_qat",
    "torch.ao.quantization.prepare", "torch.quantization.prepare", "torch.ao.quantization.prepare_qat", "torch.quantization.prepare_qat",
    "torch.ao.quantization.convert", "torch.quantization.convert", "torch.distributed._composable.fsdp.fully_shard",
    "torch.distributed.fsdp.fully_shard",
    "torch.distributed.tensor.parallel.parallelize_module", "torch.distributed._composable.replicate",
    "torch.nn.utils.prune.l1_unstructured", "torch.nn.utils.prune.random_unstructured", "torch.nn.utils.prune.ln_structured",
    "torch.nn.utils.prune.remove",
    "torch.nn.utils.remove_weight_norm", "torch.nn.utils.remove_spectral_norm", "torch.jit.optimize_for_inference",
    "peft.get_peft_model", "peft.PeftModel.from_pretrained", "peft.prepare_model_for_kbit_training", "peft.prepare_model_for_int8_training",
    "ray.train.torch.prepare_model", "timm.utils.unwrap_model", "torch_xla.distributed.xla_multiprocessing.MpModelWrapper",
    "intel_extension_for_pytorch.optimize", "opacus.validators.ModuleValidator.fix", "accelerate.dispatch_model", "accelerate.cpu_offload",
    "accelerate.load_checkpoint_and_dispatch", "functorch.compile.memory_efficient_fusion", "torch.fx.GraphModule",
    "torch.nn.Module.to", "timm.models.convert_splitbn_model",
    "timm.layers.convert_splitbn_model", "torch.ao.quantization.quantize_dynamic", "torch.quantization.quantize_dynamic",
    "bitsandbytes.nn.modules.replace_linear", "unsloth.FastLanguageModel.get_peft_model", "neptune.new.types.File",
)  # fmt: skip
def wrap(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Functions that return the model they were given, in the mode it was in."""
    model = arguments.get(0, *_MODEL_NAMES)
    if model is None:
        return None
    thing = as_model(machine, model)
    if thing is not None:
        state.marks[thing.address, "compiled" if "compile" in name else "converted"] = place
        if name.startswith("peft."):
            state.marks[thing.address, "partly_frozen"] = place
    return same_object(machine, model)


@extern(
    "torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel", "torch.distributed.fsdp.FullyShardedDataParallel",
    "apex.parallel.DistributedDataParallel", "fairscale.nn.FullyShardedDataParallel", "fairscale.nn.ShardedDataParallel",
    "torch_xla.distributed.fsdp.XlaFullyShardedDataParallel", "horovod.torch.DistributedDataParallel",
)  # fmt: skip
def distribute(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``DataParallel(model)``: counts as the model itself, which is what ``.module`` leads to."""
    model = arguments.get(0, "module")
    if model is None:
        return None
    for member in members(model):
        if isinstance(member, Ref) and as_model(machine, member) is not None:
            record_wrap(machine, state, name, member, arguments, place)
    return same_object(machine, model)


@extern(
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm", "apex.parallel.convert_syncbn_model", "timm.layers.convert_sync_batchnorm",
    "timm.models.layers.convert_sync_batchnorm",
)  # fmt: skip
def synchronize(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``SyncBatchNorm.convert_sync_batchnorm(model)``: BatchNorm layers are replaced, their modes stay."""
    del name
    model = arguments.get(0, "module")
    if model is None:
        return None
    for member in members(model):
        if isinstance(member, Ref) and as_model(machine, member) is not None:
            record_conversion(machine, state, member, place)
    return same_object(machine, model)


@built
def distributing_class(machine: Machine, state: State, cls: ClassInfo, arguments: Arguments, place: Place) -> Value | None:
    """A project class that extends one of these wrappers."""
    base = next((base for base in sorted(cls.externals) if canonical(base) in _WRAPPERS), None)
    return distribute(machine, state, canonical(base), arguments, place) if base is not None else None


_WRAPPERS = frozenset(
    {"torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel", "torch.distributed.fsdp.FullyShardedDataParallel"}
)


@extern("deepspeed.initialize", "apex.amp.initialize", "intel_extension_for_pytorch.optimize_all")
def initialize(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """Engines: the model comes back, with the optimizer."""
    del state, place
    model = arguments.get(1 if name.startswith("deepspeed") else 0, "model", "models") or NOTHING
    optimizer = arguments.get(2 if name.startswith("deepspeed") else 1, "optimizer", "optimizers")
    if as_model(machine, model) is None:
        model = next((value for value in arguments.values() if as_model(machine, value) is not None), model)
    if name.startswith("deepspeed"):
        # The engine is asked for steps too, which is why it stands for the optimizer as well where none was given.
        return Tuple((model, optimizer or NOTHING, NOTHING, NOTHING))
    return model if optimizer is None else Tuple((model, optimizer))


@method("prepare", "setup", "prepare_model", "setup_module", "unwrap_model", "unwrap", "prepare_for_training", "distribute", "setup_model")
def prepare(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``accelerator.prepare(model, optimizer, loader)``: gives back what it was given, one value or a tuple; modes stay as they are."""
    del state, place
    if as_model(machine, receiver) is not None and machine.things[getattr(receiver, "address", -1)].kind == "module":
        return None
    given = list(arguments.positional) or [value for _, value in arguments.named]
    if not given or not any(as_model(machine, member) is not None for value in given for member in members(value)):
        return None if not given or name not in {"prepare", "setup"} else given[0] if len(given) == 1 else Tuple(tuple(given))
    if name in {"unwrap_model", "prepare_model", "setup_module", "unwrap"} or len(given) == 1:
        return given[0]
    return Tuple(tuple(given))


@method("prepare_data_loader", "setup_dataloaders", "prepare_optimizer", "prepare_scheduler", "setup_optimizers")
def prepare_other(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """The same for loaders and optimizers."""
    del machine, state, receiver, name, place
    given = arguments.positional
    return None if not given else given[0] if len(given) == 1 else Tuple(given)


@extern(
    "timm.utils.ModelEma", "timm.utils.ModelEmaV2", "timm.utils.ModelEmaV3", "torch.optim.swa_utils.AveragedModel",
    "torch.optim.AveragedModel", "ema_pytorch.EMA", "torch_ema.ExponentialMovingAverage",
    "diffusers.training_utils.EMAModel", "lightning.pytorch.callbacks.WeightAveraging",
)  # fmt: skip
def averaged(machine: Machine, state: State, name: str, arguments: Arguments, place: Place) -> Value | None:
    """A moving average of a model's weights: a copy, which timm puts into eval mode and torch leaves as the model was."""
    model = arguments.get(0, "model")
    thing = as_model(machine, model) if model is not None else None
    if thing is None or name.startswith(("torch_ema.", "diffusers.")):
        return NOTHING if model is not None else None
    copied = deepcopy(machine, state, "copy.deepcopy", Arguments((Ref(thing.address),)), place)
    copy = as_model(machine, copied) if copied is not None else None
    if copy is None:
        return NOTHING
    state.marks[copy.address, "averaged"] = place
    state.marks[copy.address, "loaded"] = place
    if name.startswith("timm."):
        modes.set_mode(machine, state, copy, "eval", place)
    elif name.startswith("ema_pytorch."):
        modes.set_mode(machine, state, copy, "unknown", place)
    return Ref(copy.address)


@method("update_parameters", "ema_update", "copy_to", "store", "restore", "swap_parameters", "apply_shadow")
def update_average(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """The average takes in the weights of the model; no mode changes."""
    del name
    thing = as_model(machine, receiver)
    if thing is None:
        return None
    for value in arguments.values():
        for model in models_in(machine, state, value):
            if (model.address, "trained") in state.marks:
                state.marks[thing.address, "loaded"] = place
    return NOTHING


@method("mul_", "lerp_", "copy_", "add_", "sub_", "_foreach_lerp_")
def update_weights(machine: Machine, state: State, receiver: Value, name: str, arguments: Arguments, place: Place) -> Value | None:
    """``target.data.mul_(decay).add_(source.data)``: weights of one model follow those of another."""
    about = getattr(receiver, "about", None)
    if about is None or not getattr(receiver, "origins", frozenset()) & {"parameter", "state_dict"}:
        return None
    thing = machine.things.get(about.address)
    sources = {value.about for value in (gathered(machine, state, [item]) for item in arguments.values()) if value.about is not None}
    if thing is not None and (name in {"mul_", "lerp_"} or sources - {about}):
        state.marks[thing.address, "averaged"] = place
    return receiver
