"""Names of tensor operations, by what they do to the flow of data."""

from __future__ import annotations

__all__ = [
    "ACTIVATIONS",
    "COMPARISONS",
    "FILLS",
    "JOIN_FUNCTIONS",
    "KEEP_FUNCTIONS",
    "KEEP_METHODS",
    "LAYERS",
    "LOGARITHMS",
    "MOVES",
    "NO_GRADIENT",
    "PARENTS",
    "PLAIN",
    "PREDICTS",
    "RANDOM",
    "REDUCTIONS",
    "SAME_LAYERS",
    "SHAPES",
]

ACTIVATIONS = {
    "softmax": "softmax",
    "softmax_": "softmax",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
    "expit": "sigmoid",
    "logsigmoid": "log_sigmoid",
    "hardsigmoid": "hardsigmoid",
    "gumbel_softmax": "gumbel_softmax",
    "softmin": "softmin",
    "tanh": "tanh",
    "tanh_": "tanh",
    "relu": "relu",
    "relu_": "relu",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
    "selu": "selu",
    "gelu": "gelu",
    "silu": "silu",
    "mish": "mish",
    "softplus": "softplus",
}
"""Activations by the name of the function or method."""
LAYERS = {
    "Softmax": "softmax",
    "Softmax2d": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "LogSigmoid": "log_sigmoid",
    "Hardsigmoid": "hardsigmoid",
    "Softmin": "softmin",
    "Tanh": "tanh",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "SELU": "selu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Mish": "mish",
    "Softplus": "softplus",
}
LOGARITHMS = {"softmax": "log_softmax", "sigmoid": "log_sigmoid"}
SAME_LAYERS = frozenset({"Identity", "Flatten", "Unflatten"})

RANDOM = frozenset(
    {
        "rand", "randn", "randint", "randperm", "zeros", "ones", "empty", "full", "eye", "normal", "rand_like", "randn_like",
        "randint_like",
        "zeros_like", "ones_like", "empty_like", "full_like", "empty_strided", "bernoulli", "arange", "linspace", "logspace",
    }
)  # fmt: skip
"""Functions that make a tensor out of nothing."""
KEEP_FUNCTIONS = frozenset(
    {
        "squeeze", "unsqueeze", "transpose", "permute", "flatten", "unflatten", "reshape", "ravel", "movedim", "moveaxis", "swapaxes",
        "clone",
        "gather", "index_select", "select", "narrow", "split", "chunk", "unbind", "tensor_split", "masked_select", "take", "flip",
        "roll", "t",
        "interpolate", "upsample", "nan_to_num", "broadcast_to", "view_as_real",
    }
)  # fmt: skip
JOIN_FUNCTIONS = frozenset({"cat", "concat", "concatenate", "stack", "vstack", "hstack", "dstack", "column_stack"})
KEEP_METHODS = KEEP_FUNCTIONS | frozenset(
    {
        "view", "view_as", "reshape_as", "contiguous", "float", "double", "half", "bfloat16", "to", "cuda", "cpu", "type", "type_as",
        "expand",
        "expand_as", "repeat", "requires_grad_", "retain_grad", "squeeze_", "unsqueeze_", "transpose_", "t_", "rename", "refine_names",
        "numpy", "detach", "detach_", "tolist", "long", "int", "bool", "pin_memory", "share_memory_", "xpu", "npu", "cast", "gather", "get",
    }
)  # fmt: skip
MOVES = frozenset(
    {"float", "double", "half", "bfloat16", "to", "cuda", "cpu", "type", "type_as", "contiguous", "clone", "requires_grad_", "pin_memory",
     "long", "detach", "detach_", "xpu", "npu", "numpy"}
)  # fmt: skip
"""Methods that keep the number of samples."""
NO_GRADIENT = frozenset(
    {"detach", "detach_", "item", "tolist", "numpy", "argmax", "argmin", "argsort", "eq", "ne", "gt", "lt", "ge", "le", "equal",
     "round", "sign",
     "long", "int", "bool", "bincount", "nonzero", "isnan", "isinf", "isfinite", "allclose", "size", "numel"}
)  # fmt: skip
PREDICTS = frozenset({"argmax", "argmin", "argsort", "topk", "eq", "equal", "round", "bincount"})
FILLS = frozenset({"normal_", "uniform_", "random_", "bernoulli_", "fill_", "zero_", "exponential_", "cauchy_", "log_normal_"})
SHAPES = frozenset({"shape", "ndim", "dtype", "device", "requires_grad", "is_cuda", "itemsize", "nbytes", "names", "layout"})
PLAIN = {"T": True, "mT": True, "H": True, "real": True, "logits": True, "data": True, "values": True, "indices": False}
REDUCTIONS = frozenset({"backward", "mean", "sum", "max", "min", "log", "exp", "norm", "pow", "item"})
COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
PARENTS = ("torch.", "torch.nn.functional.", "torch.special.", "torch.Tensor.")
