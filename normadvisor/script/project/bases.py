"""What is known of external base classes: whether they are modules, and whether they belong to a framework that handles modes."""

from __future__ import annotations

from normadvisor.script.project.externals import STANDARD

__all__ = ["framework_of", "module_kind"]

_FRAMEWORKS = (
    ("pytorch_lightning.", "lightning"),
    ("lightning.", "lightning"),
    ("lightning_fabric.", "lightning"),
    ("transformers.Trainer", "transformers"),
    ("transformers.Seq2SeqTrainer", "transformers"),
    ("trl.", "transformers"),
    ("fastai.", "fastai"),
    ("ignite.", "ignite"),
    ("catalyst.", "catalyst"),
    ("keras.", "keras"),
    ("tensorflow.", "keras"),
    ("tf_keras.", "keras"),
    ("mmengine.", "mmengine"),
    ("mmcv.runner.", "mmengine"),
    ("mmdet.", "mmengine"),
    ("mmseg.", "mmengine"),
    ("mmpretrain.", "mmengine"),
    ("composer.", "composer"),
    ("skorch.", "skorch"),
    ("detectron2.engine.", "detectron2"),
    ("ultralytics.", "ultralytics"),
    ("torchtnt.", "torchtnt"),
    ("pl_bolts.", "lightning"),
    ("flair.", "flair"),
    ("allennlp.", "allennlp"),
    ("fairseq.", "fairseq"),
    ("pytorch_metric_learning.trainers", "pytorch_metric_learning"),
)

_MODULES = frozenset(
    {
        "pytorch_lightning.LightningModule",
        "composer.ComposerModel",
        "composer.models.ComposerModel",
        "diffusers.ModelMixin",
        "diffusers.models.modeling_utils.ModelMixin",
        "mmengine.model.BaseModule",
        "mmengine.model.BaseModel",
        "mmcv.runner.BaseModule",
        "torchmetrics.Metric",
        "torch_geometric.nn.MessagePassing",
        "torch_geometric.nn.conv.MessagePassing",
        "fairseq.models.BaseFairseqModel",
        "fairseq.models.FairseqEncoder",
        "fairseq.models.FairseqDecoder",
        "fairseq.models.FairseqIncrementalDecoder",
        "sentence_transformers.SentenceTransformer",
        "torch.jit.ScriptModule",
        "torch.fx.GraphModule",
        "fastai.layers.Module",
        "efficientnet_pytorch.EfficientNet",
    }
)
_MODULE_FAMILIES = ("torchvision.models.", "timm.models.", "timm.layers.", "segmentation_models_pytorch.", "monai.networks.")
_OTHER_TORCH = tuple(f"torch.{name}." for name in ("optim", "utils", "autograd", "distributed", "cuda", "distributions", "amp", "fx"))
_OTHER_NN = frozenset({"Parameter", "Buffer", "UninitializedParameter"})
_OTHER_PACKAGES = frozenset(
    {"numpy", "pandas", "sklearn", "scipy", "PIL", "cv2", "matplotlib", "pydantic", "gym", "gymnasium", "absl", "omegaconf", "click"}
    | {"typing_extensions", "yaml", "attr", "attrs", "datasets", "tokenizers", "albumentations", "flask", "fastapi", "rich", "wandb"}
)
_PLAIN = frozenset(("dict", "list", "tuple", "set", "frozenset", "str", "bytes", "int", "float", "bool", "type", "property", "object"))


def framework_of(name: str) -> str | None:
    """The framework a base class belongs to, if that framework switches modes itself."""
    return next((framework for prefix, framework in _FRAMEWORKS if name.startswith(prefix)), None)


def module_kind(name: str) -> bool | None:
    """Whether an external class is an ``nn.Module``; ``None`` if that is not known."""
    if name in _MODULES:
        return True
    top, _, rest = name.partition(".")
    last = name.rpartition(".")[2]
    if not rest:
        return False if name in _PLAIN or (name.endswith(_EXCEPTIONS) and not name.startswith("?")) else None
    if top in STANDARD or top in _OTHER_PACKAGES:
        return False
    if name.startswith("torch.nn."):
        return last[:1].isupper() and last not in _OTHER_NN
    if name.startswith(_OTHER_TORCH) or name in {"torch.Tensor", "torch.Generator", "torch.dtype"}:
        return False
    if name.startswith(("torchvision.transforms.", "torchvision.datasets.", "timm.data.", "timm.optim.", "timm.scheduler.")):
        return name.startswith("torchvision.transforms.v2.")
    if name.startswith(_MODULE_FAMILIES):
        return True if last[:1].isupper() else None
    if top == "transformers":
        return _transformers(last)
    if top == "pytorch_lightning":
        return False
    return None


_EXCEPTIONS = ("Exception", "Error", "Warning", "Iteration")


def _transformers(last: str) -> bool | None:
    if last.endswith(_NO_TRANSFORMERS_MODULES):
        return False
    return True if last.endswith(_TRANSFORMERS_MODULES) or "For" in last else None


_NO_TRANSFORMERS_MODULES = (
    "Config", "Tokenizer", "TokenizerFast", "Trainer", "Callback", "Arguments", "Processor", "Pipeline", "Output", "Mixin", "Criteria",
)  # fmt: skip
_TRANSFORMERS_MODULES = ("PreTrainedModel", "Model", "Layer", "Attention", "Embeddings", "Encoder", "Decoder", "MLP", "Backbone")
