"""Before the first step: the plain model, its batches, sizes, and what its layers are."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from normadvisor.errors import NormAdvisorError, ProbeError
from normadvisor.graph.canonical import module_op
from normadvisor.probe.recording.compiled import eager, is_compiled
from normadvisor.probe.recording.layers import walk
from normadvisor.probe.running.batches import DrawnBatches, GivenBatches, Source
from normadvisor.probe.running.draw import Drawing, batch_of
from normadvisor.probe.running.failures import failure
from normadvisor.probe.running.precision import Precision
from normadvisor.probe.running.samples import Batch
from normadvisor.probe.running.session import Found
from normadvisor.probe.running.trees import named_tensors

if TYPE_CHECKING:
    from normadvisor.graph.model import ModelGraph
    from normadvisor.targets.inputs import Inputs
    from normadvisor.types import ProbeOptions, RunContext

__all__ = ["batch_size_of", "initialize", "is_lazy", "keeps_flags", "last_op_of", "not_compiled", "operations", "probed_model", "source_of"]

SMALL_INPUT = 1 << 14
"""Values of one sample below which a larger batch costs little: a 3x64x64 image."""
SMALL_BATCH, LARGE_BATCH = 8, 32
"""Samples of a step where nobody said: 8 of large inputs, 32 of small ones."""
BATCHES_HELD = 10
"""Batches of the user's data that are read, at least; one per step where there are more steps."""


def probed_model(model: nn.Module, found: Found) -> nn.Module:
    """The model that is run: what ``torch.compile`` was given.

    Raises:
        ProbeError: its weights have no values, or cannot train.

    """
    inner = getattr(model, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        found.notes.append("the model is compiled: what was compiled was run as it is written")
        model = inner
    tensors = [*model.parameters(), *model.buffers()]
    if any(tensor.is_meta for tensor in tensors):
        message = f"{type(model).__name__} is on the meta device: its weights have no values to measure"
        raise ProbeError(message, hint="build it in real memory")
    shaped = [(name, tensor) for name, tensor in model.named_parameters() if not isinstance(tensor, nn.UninitializedParameter)]
    made = next((name for name, tensor in shaped if tensor.is_inference()), None)
    if made is not None:
        message = f"the parameter {made} was made in torch.inference_mode(), so that it can never get a gradient"
        raise ProbeError(message, hint="build the model outside of torch.inference_mode()")
    quantized = next((name for name, tensor in model.named_parameters() if tensor.is_quantized), None)
    if quantized is not None:
        message = f"the parameter {quantized} is quantized, and quantized weights do not train"
        raise ProbeError(message, hint="probe the model before it is quantized")
    return model


def is_lazy(model: nn.Module) -> bool:
    """Whether the model has layers that get their shapes from their first input, and have had none."""
    return any(isinstance(tensor, UninitializedParameter | UninitializedBuffer) for tensor in (*model.parameters(), *model.buffers()))


def initialize(model: nn.Module, batch: Batch) -> None:
    """Give lazy layers their shapes; in eval mode, so that running statistics stay new.

    Raises:
        NormAdvisorError: the model does not take the batch.

    """
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            model(*batch.args, **batch.kwargs)
    except NormAdvisorError:
        raise
    except Exception as error:
        raise failure(model, "the first forward pass failed", error) from error
    for module, mode in modes.items():
        module.training = mode


def keeps_flags(model: nn.Module) -> bool:
    """Whether the flags of the model's modules are its user's: it is in train mode, and no module has a ``train()`` of its own.

    Of one that has, the flags are those of construction unless its ``train()`` has run, as training loops let it.
    """
    return model.training and all(type(module).train is nn.Module.train for module in model.modules())


def not_compiled(model: nn.Module) -> AbstractContextManager[None]:
    """What was handed to ``torch.compile`` runs as it is written, so that hooks see it."""
    return eager() if is_compiled(model) else nullcontext()


def operations(model: nn.Module, graph: ModelGraph | None) -> dict[str, str | None]:
    """Canonical operation of every module: what the graph says, else what its class says."""
    found: dict[str, str | None] = {}
    for name, module in walk(model):
        known = module_op(type(module))
        info = graph.modules.get(name) if graph is not None else None
        found[name] = info.op if info is not None and info.op is not None else known[0] if known else None
    return found


def last_op_of(graph: ModelGraph | None) -> str | None:
    """Operation whose value leaves the model, where the graph names exactly one."""
    if graph is None:
        return None
    ops = {node.op for node in graph.nodes if node.reaches_output}
    return ops.pop() if len(ops) == 1 else None


def batch_size_of(options: ProbeOptions, context: RunContext, inputs: Inputs | None) -> tuple[int | None, bool]:
    """Samples per step, ``None`` for as many as the data's batches hold, and whether the user said so.

    Raises:
        ProbeError: a size below 1.

    """
    said = options.batch_size if options.batch_size is not None else context.per_device_batch
    if said is not None and said < 1:
        raise ProbeError(f"a batch of {said} samples cannot be run", hint="give a batch size of at least 1")
    if said is not None or inputs is None:
        return said, said is not None
    if inputs.given:
        return batch_of(inputs), True
    given = max(1, batch_of(inputs))
    sample = sum(tensor.numel() for _, tensor in named_tensors((inputs.args, inputs.kwargs))) / given
    return (LARGE_BATCH if sample <= SMALL_INPUT else SMALL_BATCH), False


def source_of(
    model: nn.Module, *, inputs: Inputs | None, batches: Iterable[Any] | None, precision: Precision, size: int | None, seed: int,
    steps: int,
) -> Source:
    """Where batches come from.

    Raises:
        ProbeError: there is neither data nor inputs.

    """
    dtype = precision.dtype
    if batches is not None:
        wanted = max(steps, BATCHES_HELD)
        return GivenBatches(batches, model, wanted=wanted, device=precision.device, dtype=dtype, size=size)
    if inputs is None:
        message = f"no inputs for {type(model).__name__} are known"
        raise ProbeError(message, hint="describe them with --input 2x3x224x224, or give batches with --data module:function")
    drawing = Drawing(inputs=inputs, model=model, size=size or batch_of(inputs), seed=seed)
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    return DrawnBatches(drawing, precision.device, dtype or (own if own in (torch.float64, torch.float16, torch.bfloat16) else None))


