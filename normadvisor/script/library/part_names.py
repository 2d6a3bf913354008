"""Names of the attributes of models, by what they hold."""

from __future__ import annotations

__all__ = ["MODULE_METHODS", "NO_MODULES", "OPAQUE_DATA", "PARAMETERS", "PLAIN", "PLAIN_NAMES", "TENSORS"]

PARAMETERS = frozenset({"weight", "bias", "running_mean", "running_var", "num_batches_tracked", "weight_ih_l0", "weight_hh_l0"})
"""Tensors that layers hold."""
PLAIN = frozenset(
    {"device", "dtype", "config", "shape", "name", "in_features", "out_features", "in_channels", "out_channels", "num_features"}
    | {"num_classes"}
    | {"kernel_size", "stride", "padding", "eps", "momentum", "affine", "p", "hparams", "current_epoch", "global_step", "logger"}
    | {"__name__"}
    | {"default_cfg", "pretrained_cfg", "__dict__", "__doc__", "generation_config", "names", "stoi", "itos", "affine", "inplace"}
    | {"hidden_size"}
)
"""Attributes of modules that are neither modules nor tensors."""
MODULE_METHODS = frozenset(
    {"train", "eval", "to", "cuda", "cpu", "half", "float", "double", "bfloat16", "type", "apply", "modules", "named_modules", "children"}
    | {"named_children", "parameters", "named_parameters", "buffers", "named_buffers", "state_dict", "load_state_dict", "zero_grad"}
    | {"requires_grad_", "share_memory", "register_buffer", "register_parameter", "register_forward_hook", "register_full_backward_hook"}
    | {"register_forward_pre_hook", "register_backward_hook", "add_module", "get_submodule", "get_parameter", "extra_repr", "forward"}
    | {"__call__", "xpu", "ipu", "to_empty", "compile", "set_extra_state", "get_extra_state", "get_buffer", "append", "extend", "insert"}
    | {"items", "keys", "values", "pop", "register_module"}
)
"""Methods of ``nn.Module`` and of its containers."""
OPAQUE_DATA = ("loss", "crit", "lr", "epoch", "size", "num", "path", "dir", "name", "file", "device", "args", "cfg", "config", "opt")
"""Parts of attribute names that speak of plain data in an object whose class is out of reach."""
NO_MODULES = frozenset(
    {"int", "float", "str", "bool", "len", "list", "tuple", "dict", "set", "range", "max", "min", "sum", "sorted", "round"}
)
"""Builtins whose result is no module."""
TENSORS = frozenset(
    {"Tensor", "FloatTensor", "LongTensor", "Variable", "ndarray", "Image", "str", "int", "float", "bool", "Path", "bytes", "device"}
)
"""Annotations of parameters that hold no module."""
PLAIN_NAMES = frozenset(
    {"x", "y", "z", "input", "inputs", "target", "targets", "label", "labels", "image", "images", "img", "imgs", "batch", "data", "logits"}
    | {"outputs"}
    | {"output", "args", "kwargs", "device", "epoch", "epochs", "lr", "path", "cfg", "config", "batch_idx", "batch_size", "mask", "pred"}
    | {"preds"}
)
"""Names of parameters that hold data or settings."""
