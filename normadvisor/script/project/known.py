"""Contents of models from outside the project, by what is known of the libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from normadvisor.script.knowledge import UNDECIDED, lookup
from normadvisor.script.project.abstract import Abstract, Call
from normadvisor.script.project.contents import UNKNOWN_CONTENTS, Contents, Layer
from normadvisor.script.project.deciding import decided_layer
from normadvisor.script.project.layers import CONTAINERS, LAYERS, WRAPPERS
from normadvisor.script.values import Const, Extern

if TYPE_CHECKING:
    from normadvisor.script.knowledge import KnownContents

__all__ = ["contents_of_extern_call", "contents_of_layer", "is_plain_base"]

_PLAIN_BASES = frozenset(
    [
        "pytorch_lightning.LightningModule", "composer.ComposerModel", "composer.models.ComposerModel", "diffusers.ModelMixin",
        "diffusers.models.modeling_utils.ModelMixin", "mmengine.model.BaseModule", "mmengine.model.BaseModel", "mmcv.runner.BaseModule",
        "torchmetrics.Metric", "torch_geometric.nn.MessagePassing", "torch_geometric.nn.conv.MessagePassing", "torch.jit.ScriptModule",
        "fairseq.models.BaseFairseqModel", "fairseq.models.FairseqEncoder", "fairseq.models.FairseqDecoder", "torch.fx.GraphModule",
        "fairseq.models.FairseqIncrementalDecoder", "fastai.layers.Module", "transformers.PreTrainedModel",
        "huggingface_hub.PyTorchModelHubMixin",
        "diffusers.ConfigMixin", "diffusers.configuration_utils.ConfigMixin", "transformers.modeling_utils.PreTrainedModel",
    ]
)  # fmt: skip


def is_plain_base(name: str) -> bool:
    """Whether a base class is a module without layers of its own."""
    return name in _PLAIN_BASES or (name.startswith("torch.nn.") and name.count(".") == 2)


def contents_of_extern_call(name: str, call: Call) -> Contents | None:
    """What a model holds that a library builds; ``None`` if nothing is known of that name."""
    known = lookup(name)
    if known is None:
        return None
    literals: dict[int | str, Any] = {index: _literal(value) for index, value in enumerate(call.positional)}
    literals.update({key: _literal(value) for key, value in call.named})
    return converted(known.contents(literals, complete=not call.open))


def _literal(value: Abstract) -> Any:
    if isinstance(value, Const):
        return value.value
    return value.name if isinstance(value, Extern) else UNDECIDED


def converted(found: KnownContents | None) -> Contents:
    """Known contents as contents of a model; its layers have no place in the project."""
    if found is None:
        return UNKNOWN_CONTENTS
    kinds = {"batchnorm": found.batchnorm, "dropout": found.dropout, "other": found.other}
    layers = tuple(Layer(layer, None, kind) for kind, names in found.layers.items() for layer in names)  # type: ignore[arg-type]
    norms = tuple(layer for layer in layers if layer.kind == "batchnorm" or "Norm" in layer.name)
    norms += tuple(Layer(layer, None, "norm") for layer in found.norms)
    over = "no" if found.batchnorm == "no" else "unknown"
    return Contents(kinds["batchnorm"], kinds["dropout"], kinds["other"], layers, norms, batchnorm_over_features=over)  # type: ignore[arg-type, unused-ignore]


def contents_of_layer(name: str, call: Call) -> Contents | None:
    """Contents of a single layer of torch or its companions; ``None`` for a container and for anything else."""
    spec = LAYERS.get(name)
    last = name.rpartition(".")[2]
    if spec is None:
        single = name.startswith("torch.nn.") and name.count(".") == 2 and last[:1].isupper()
        plain = single and name not in CONTAINERS and name not in WRAPPERS
        return Contents() if plain else None
    held = decided_layer(spec, call)
    if held == "no":
        return Contents(norms=(Layer(last, None, "norm"),)) if "Norm" in last else Contents()
    layer = Layer(last, None, spec.kind)  # type: ignore[arg-type]
    over = "unknown" if spec.kind == "batchnorm" else "no"
    kinds = {"batchnorm": "no", "dropout": "no", "other": "no", spec.kind: held}
    return Contents(**kinds, layers=(layer,), norms=(layer,) if "Norm" in last else (), batchnorm_over_features=over)  # type: ignore[arg-type]
