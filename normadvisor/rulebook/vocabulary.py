"""What the names of a rule know: every attribute that a condition may ask a node, a module, a run, the context or the model for.

An attribute outside these lists is a spelling mistake, and the loader says so; one that is in them but that the operation at hand does
not have is ``None``. The graph and the matcher fill them; tests hold both to these lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from normadvisor.types import LAYER_FACTS, LAYER_SERIES, RUN_FACTS, RUN_SERIES
from normadvisor.types.events import EVENT, EVENTS

__all__ = [
    "ATTRIBUTES", "CHAIN", "CHANGES", "CONTEXT", "LAYER", "MODEL", "MODULE", "NODE", "PROBING", "RUN", "RUN_LAYERS", "RUN_LINES",
    "event_attributes",
]  # fmt: skip

_SHARED = {
    "calls": "how often the module runs in one forward pass",
    "cls": "class name of the module that is the operation; empty for a function call",
    "name": "name in the graph; of a module its qualified name",
    "op": "canonical operation",
}

ATTRIBUTES: dict[str, str] = {
    # every operation
    "inplace": "writes into its input",
    "parametrizations": "list of `weight_norm`, `spectral_norm` and the like",
    "requires_grad": "any of its parameters is trained",
    # what is written out by hand, on the operation or layer that gives the result
    "computes": "what it and operations before it compute by hand, though torch has one function for it: `silu`, `rms_norm`, `attention`",
    "fused": "computed inside a layer of `normadvisor.fused`",
    "function": "that function, as `torch.nn.functional.silu`",
    "operations": "how many calls the function takes the place of",
    "permuted": "whether the function needs axes permuted: those it normalizes over last, or heads ahead of positions",
    "obstacle": "why the function cannot take their place all the same",
    # norms
    "affine": "has a learned scale (and shift)",
    "axes": "sorted axes that one statistic is taken over",
    "eps": "what is added to the variance",
    "expected_dims": "ranks of input the class accepts",
    "frozen": "stays in eval mode while the model trains",
    "handwritten": "recognised by what it computes, not by its class",
    "has_buffers": "hand-written batch norm: holds buffers",
    "momentum": "weight of the new batch in the running statistics",
    "normalized_shape": "sizes of the normalized axes",
    "num_channels": "channels of a group norm",
    "num_features": "features of a batch or instance norm",
    "num_groups": "groups of a group norm",
    "peer_dependence": "hand-written batch norm: how much other samples change the output in eval mode",
    "sync": "statistics over all devices",
    "track_running_stats": "keeps running statistics",
    "updates_running_stats": "hand-written batch norm: a buffer moves in train mode",
    "uses_running_stats": "hand-written batch norm: other samples do not matter in eval mode",
    # linear maps
    "bias": "has a bias",
    "channels_last": "the weight of a convolution lies in memory with its channels last",
    "dilation": "dilation per axis",
    "dims": "spatial axes of a convolution; axes of a reduction",
    "groups": "groups of a convolution",
    "in_channels": "input channels",
    "in_features": "input features",
    "in_width": "input channels or features",
    "kernel_size": "size per axis",
    "out_channels": "output channels",
    "out_features": "output features",
    "out_width": "output channels or features",
    "output_padding": "output padding of a transposed convolution",
    "padding": "padding per axis",
    "padding_mode": "`zeros`, `reflect`, `replicate` or `circular`",
    "stride": "stride per axis",
    # the rest
    "align_corners": "upsampling",
    "alpha": "parameter of an activation",
    "approximate": "`none` or `tanh` of a GELU",
    "batch_first": "recurrent layers and attention",
    "beta": "parameter of an activation",
    "bidirectional": "recurrent layers",
    "broadcasts": "arithmetic of tensors of different shapes",
    "ceil_mode": "pooling",
    "count_include_pad": "average pooling counts the padding",
    "dim": "axis of a softmax, a reduction or a join",
    "dim0": "first axis of a transpose",
    "dim1": "second axis of a transpose",
    "downscale_factor": "pixel unshuffle",
    "dropout": "dropout inside recurrent layers and attention",
    "dropout_p": "dropout of scaled dot product attention",
    "embed_dim": "width of attention",
    "embedding_dim": "width of an embedding",
    "end_dim": "last axis of a flatten",
    "functional": "a dropout that is a function call",
    "hidden_size": "width of a recurrent layer",
    "ignore_index": "of a loss",
    "input_size": "input width of a recurrent layer",
    "is_causal": "of attention",
    "keepdim": "of a reduction",
    "label_smoothing": "of a cross entropy",
    "lower": "bound of a random leaky ReLU",
    "max": "upper bound of a clamp",
    "max_val": "upper bound of a hardtanh",
    "min": "lower bound of a clamp",
    "min_val": "lower bound of a hardtanh",
    "mode": "of upsampling and padding",
    "negative_slope": "of a leaky ReLU",
    "num_embeddings": "rows of an embedding",
    "num_heads": "of attention",
    "num_layers": "of a recurrent layer",
    "num_parameters": "of a PReLU",
    "order": "which input axis each output axis is, of a permutation",
    "output_size": "of adaptive pooling",
    "p": "probability of a dropout",
    "pad": "amounts of a padding",
    "padding_idx": "of an embedding",
    "reduction": "of a loss",
    "scale": "factor of the scores of attention written out by hand, where it is not the usual one",
    "scale_factor": "of upsampling",
    "size": "of upsampling or local response normalization",
    "start_dim": "first axis of a flatten",
    "threshold": "of an activation",
    "training": "train flag",
    "upper": "bound of a random leaky ReLU",
    "upscale_factor": "pixel shuffle",
    "value": "fill value",
}
"""Attributes of operations, the same for modules and function calls."""

NODE: dict[str, str] = {
    **ATTRIBUTES,
    **_SHARED,
    "batch_factor": "rows of its input per sample, at least 1",
    "channel_axis": "axis of the output that holds features",
    "channel_origin": "operation that the feature axis comes from",
    "channels": "size of the feature axis",
    "dtype": "type of the output",
    "in_shape": "shape of the first input",
    "index": "position in the graph",
    "inputs": "number of data inputs",
    "is_residual": "an `add` one of whose operands reaches back to an ancestor of the other",
    "module": "qualified name of the module",
    "owner": "qualified name of the module that holds the module",
    "rank": "axes of the first input",
    "reaches_output": "leaves the model unchanged but for reshaping",
    "shape": "shape of the output",
    "spatial": "product of the axes after batch and channels",
    "statistic_batch": "rows that share one batch statistic",
    "symbolic": "recorded without shapes",
    "target": "spelling in the source, such as `torch.nn.functional.relu`",
    "users": "number of consumers",
    "values_per_channel": "values that one batch statistic is computed from",
}
"""What the name of a node knows."""

MODULE: dict[str, str] = {
    **ATTRIBUTES,
    **_SHARED,
    "owner_ran": "the module that holds it ran",
    "parameters": "number of parameters it holds itself",
    "ran": "ran in some traced mode",
    "referenced": "its owner's source reads it outside `__init__`",
}
"""What the name of a module pattern knows."""

CHAIN: dict[str, str] = {
    "first": "first node of the run",
    "last": "last node of the run",
    "length": "number of nodes",
    "modules": "their modules",
    "nodes": "the nodes",
}
"""What the name of a chain knows."""

CONTEXT: dict[str, str] = {
    "batch_size": "samples per optimizer step over all devices",
    "distributed": "`none`, `ddp` or `fsdp`",
    "fine_tune": "starts from trained weights",
    "loss": "loss function",
    "per_device_batch": "samples per device and step",
    "precision": "`fp32`, `bf16`, `fp16` or `amp`",
    "task": "what the model is trained for",
    "world_size": "number of devices",
}
"""What ``context`` knows; ``None`` where the user did not say."""

MODEL: dict[str, str] = {
    "activation": "class of the most frequent hidden activation, `torch.nn.ReLU` where there is none",
    "counts": "number of nodes by operation",
    "has_residual": "has a residual connection",
    "inputs_given": "the inputs were given, not inferred",
    "mode": "`train` or `eval`: the recorded pass",
    "modules": "number of modules",
    "nodes": "number of nodes",
    "parameters": "number of parameters",
    "target": "the model as it was asked for",
    "trace": "`symbolic` or `execution`",
    "weight_layers": "layers with weights on the longest path",
}
"""What ``model`` knows."""

_PARTS = {"": "", "_first": " in the first step", "_last": " in the last step", "_min": ", smallest", "_max": ", largest"}


def _of_steps(series: Mapping[str, str]) -> dict[str, str]:
    """A word for the typical value of every series, its median over the steps, and for its first, last, smallest and largest."""
    return {f"{key}{end}": f"{meaning}{words}" for key, meaning in series.items() for end, words in _PARTS.items()}


LAYER_DERIVED: dict[str, str] = {
    "act_growth": "`act_std` over that of the first layer with weights, in the first step",
    "depth": "place among the trained layers with weights, from 0 at the input to 1 at the output",
    "downstream_influence": "largest influence of this layer and those after it over the largest of all, in its best step",
    "influence": "norm of the weights times norm of their gradient: change of the loss per relative change of the weights",
    "inner": "number of measured layers inside it",
    "last": "no measured layer runs after it",
    "relative_influence": "influence over the largest of all layers, in its best step",
    "twin_gradient": "another layer with the same name but for its numbers, and as many parameters, got a gradient",
    "upstream_influence": "largest influence of this layer and those before it over the largest of all, in its best step",
}
"""What follows from comparing a layer with the others."""

RUN_DERIVED: dict[str, str] = {
    "back_influence": "largest influence in the last third of the layers with weights over the largest of all, in its best step",
    "fade": "influence of the first layer with weights over the largest, without the sharpest steps between neighbours",
    "front_influence": "largest influence in the first third of the layers with weights over the largest of all, in its best step",
    "growth": "influence of the last layer with weights over the largest, without the sharpest steps between neighbours",
    "initial_loss_ratio": "initial loss over the loss of a model that knows nothing",
    "learned": "share of its loss that one batch lost while training on it, down to the floor",
    "loss_change": "loss of the last step minus that of the first",
    "strongest_influence": "largest influence over the loss, with weights of fresh size at least, in its best step",
    "twin_fade": "influence of the first over the largest of layers that repeat, carried on to the whole depth",
    "weight_layers": "trained layers with weights",
}
"""What follows from all layers together."""

LAYER: dict[str, str] = {
    **_of_steps(LAYER_SERIES),
    **{("always_dead" if key == "dead_share" else key): meaning for key, meaning in LAYER_FACTS.items()},
    **LAYER_DERIVED,
    "calls": "runs per forward pass",
    "cls": "class name of the module",
    "name": "qualified name of the module",
    "op": "canonical operation; `None` of a module that is none of them",
    "order": "position in order of first execution, from 0",
    "parameters": "number of parameters it holds itself",
    "trainable": "how many of them are trained",
    "units": "channels or features of its output",
}
"""What the name of a measured layer knows."""

RUN: dict[str, str] = {
    **_of_steps(RUN_SERIES),
    **RUN_FACTS,
    **RUN_DERIVED,
    "batch_size": "samples per step",
    "data": "where the batches came from",
    "device": "such as `cpu`",
    "inputs": "the inputs in words",
    "layers": "all measured layers, in order of execution",
    "loss_name": "the loss function in words",
    "lr": "learning rate",
    "measured_steps": "number of steps",
    "optimizer": "name of the optimizer",
    "precision": "`fp32`, `bf16`, `fp16` or `amp`",
    "seed": "seed of what was drawn",
    "steps": "number of steps that were asked for",
    "torch": "version of torch",
    "world_size": "number of devices",
}
"""What ``probe`` knows; ``None`` where something was not measured."""

RUN_LAYERS = ("nonfinite_layer", "train_in_eval", "eval_in_train", "eval_dropout", "eval_sampling", "unregistered", "peaked_attention")
"""What ``probe`` knows that names layers: where a finding about the run may point."""

RUN_LINES = {"nonfinite_layer": "nonfinite_line", "unregistered": "unregistered_line", "peaked_attention": "peaked_line"}
"""What ``probe`` knows of lines, as ``path:line``: where one is known, a finding that points at these layers is placed there."""

PROBING: dict[str, str] = {
    "batch_size": "samples per step",
    "data": "function of the example that returns the batches",
    "loss": "loss function by name, or a function of the example that is given output and batch",
    "lr": "learning rate",
    "optimizer": "optimizer by name",
    "precision": "`fp32`, `bf16`, `fp16` or `amp`",
    "seed": "seed of what is drawn",
    "steps": "number of steps",
}
"""How an example may say that it is probed; see :class:`normadvisor.types.ProbeOptions`."""


CHANGES: dict[str, str] = {
    "set_argument": "build the layer with another `value` of one `argument`",
    "replace_layer": "build `layer` with `arguments` in its place; a weight and a bias of the same shape are carried over",
    "remove_layer": "take the layer, or this call of a function, out",
    "swap_layers": "let `of` and `other`, which runs right after it, change places",
    "insert_layer": "run `layer`, built with `arguments`, on what `of` gives",
    "separate_layers": "build a layer of its own for every place where a shared one runs",
    "wrap_layer": "put the function or layer `layer` around the layer as it is built",
    "use_function": "call the function `layer` in place of the operations that compute the same by hand, of which the node is the last",
}
"""Kinds of changes that a fix may make."""


def event_attributes(kinds: Iterable[str]) -> dict[str, str]:
    """What a condition may ask an event of one of some kinds for; those an event of another kind does not have are ``None``."""
    known = dict(EVENT)
    for kind in kinds:
        known.update(EVENTS.get(kind, {}))
    return known
