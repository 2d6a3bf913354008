"""What methods of models do, as far as their names tell."""

from __future__ import annotations

import re

__all__ = ["CONFIGURES", "MAY_SWITCH", "PLAIN_RUNS", "RUNNING_METHODS", "RUNS_LAYERS", "TENSOR_METHODS"]

PLAIN_RUNS = frozenset(
    {"forward", "__call__", "encode", "decode", "encode_image", "encode_text", "forward_features", "forward_head", "extract_features"}
    | {"features", "get_intermediate_layers", "get_image_features", "get_text_features", "embed", "reconstruct"}
)
"""Methods of external models that run layers and do nothing around it."""
RUNNING_METHODS = PLAIN_RUNS | frozenset(
    {"generate", "predict", "sample", "transcribe", "inference", "translate", "predict_step", "predict_proba", "infer", "chat"}
    | {"compute_loss", "embed_documents"}
)
"""Methods of external models that run them; those that are not plain may switch modes by themselves."""
RUNS_LAYERS = re.compile(
    r"forward|encod|decod|backbone|feature|classif|head|net(?:_|\d|$)|model|layer|fc\d|conv|embed|trunk|body|block|stem|pool|proj|visual|attention"
)
"""Parts, and other methods, of a class out of reach that run layers."""
CONFIGURES = re.compile(
    r"_|get(?!_(?:feature|embed|logit|output|pred|prob|latent|representation|action|score))(?:_|$)"
    r"|(?:set|init|initialize|load|save|register|reset|freeze|unfreeze|add|update|resize|enable|disable|configure|config|remove|replace"
    r"|count|print|log|export|import|from|is|has|make|build|create|setup|prepare|clear|merge|unmerge|fuse|push|summary|switch|change|move"
    r"|copy|dump|restore|attach|detach|tie|untie|convert|quantize|prune|compile|warm|requires|share|write|read|free|unload|activate"
    r"|deactivate|turn|use|eval|train|step|start|stop|finish|close|num|n|trainable|parameters|named|no|on|toggle)(?:_|$)"
)
"""Methods that set a model up, or ask it something."""
MAY_SWITCH = re.compile(
    r"freeze|train|eval|mode|deploy|infer|test|val|switch|dropout|bn|norm|prepare|setup|restore|load|activate|turn|toggle|enable|disable"
)
"""Those of them that may switch the mode."""
TENSOR_METHODS = frozenset(
    {"clone", "detach", "repeat", "expand", "expand_as", "unsqueeze", "squeeze", "view", "view_as", "reshape", "mean", "sum", "std", "var"}
    | {"max", "min", "argmax", "argmin", "softmax", "log_softmax", "sigmoid", "tanh", "relu", "matmul", "mm", "bmm", "dot", "mul", "div"}
    | {"sub", "pow", "abs", "exp", "sqrt", "clamp", "numpy", "item", "tolist", "size", "dim", "numel", "flatten", "permute", "transpose"}
    | {"contiguous", "index_select", "gather", "scatter", "masked_fill", "type_as", "new_zeros", "new_ones", "new_tensor", "new_full"}
    | {"norm", "topk", "chunk", "split", "roll", "flip", "tril", "triu", "eq", "ne", "lt", "gt", "le", "ge", "all", "any", "unfold"}
    | {"cumsum", "repeat_interleave", "unbind", "t", "floor", "round", "long", "int", "bool", "nelement", "element_size", "retain_grad"}
    | {"is_contiguous", "scatter_add", "index_add", "index_copy"}
)
"""Methods of tensors: what has them is a parameter or a buffer, and no module."""
