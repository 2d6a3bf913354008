"""Finds what is known of a dotted name."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache, partial

from normadvisor.script.knowledge.adjust import adjusted, detector
from normadvisor.script.knowledge.known import Arguments, Known, KnownContents
from normadvisor.script.knowledge.tables import names_of, table_entry

__all__ = ["lookup"]

_BATCHNORM = KnownContents("yes", "unknown", "unknown", {"batchnorm": ("BatchNorm2d",)})
_BATCHNORM_DROPOUT = KnownContents("yes", "yes", "no", {"batchnorm": ("BatchNorm2d",), "dropout": ("Dropout",)})
_BATCHNORM_CLASSES = frozenset(
    ["ResNet", "DenseNet", "MobileNetV2", "MobileNetV3", "EfficientNet", "RegNet", "ShuffleNetV2", "MNASNet", "GoogLeNet", "Inception3"]
)
_DETECTORS = ("fasterrcnn_", "maskrcnn_", "keypointrcnn_", "retinanet_", "fcos_")
_TRANSFORMERS_MODEL = re.compile(
    r"(Model|PreTrainedModel|LMHeadModel|DoubleHeadsModel|For[A-Z]\w*|Encoder|Decoder|Backbone|VisionModel\w*|TextModel\w*|MaskedLM)$"
)
_PRETRAINED = ("from_pretrained",)
_FRESH = ("from_config", "_from_config")


@cache
def lookup(name: str) -> Known | None:
    """What is known of a function or class of a library by its dotted name; ``None``: nothing.

    A method that builds is looked up with its class: ``transformers.BertModel.from_pretrained``.
    """
    top = name.partition(".")[0]
    finder = _LIBRARIES.get(top)
    return finder(name) if finder is not None else None


def _torchvision(name: str) -> Known | None:
    if not name.startswith("torchvision.models."):
        return None
    parts = name.split(".")
    last = parts[-1]
    if last == "get_model":
        return Known(name, "factory", "train", _torchvision_by_name, "argument")
    if last == "create_feature_extractor":
        return Known(name, "wrapper", "unknown")
    if last[:1].isupper():
        return Known(name, "class", "train", _fixed(_BATCHNORM) if last in _BATCHNORM_CLASSES else None, "fresh")
    key = f"quantized_{last}" if "quantization" in parts[2:-1] else last
    if key not in names_of("torchvision"):
        return None
    return Known(name, "factory", "train", partial(_from_table, "torchvision", key), "argument")


def _torchvision_by_name(arguments: Arguments, complete: bool) -> KnownContents | None:  # noqa: FBT001 - called through Known.contents
    model = arguments.get("name", arguments.get(0))
    return _from_table("torchvision", model.lower(), arguments, complete) if isinstance(model, str) else None


def _from_table(library: str, key: str, arguments: Arguments, complete: bool) -> KnownContents | None:  # noqa: FBT001 - see above
    entry = table_entry(library, key)
    if entry is None:
        return None
    default, flags = entry
    if library == "torchvision" and key.startswith(_DETECTORS):
        default = detector(default, arguments)
    return adjusted(default, flags, arguments, complete=complete)


def _timm(name: str) -> Known | None:
    last = name.rpartition(".")[2]
    if name in {"timm.create_model", "timm.models.create_model"}:
        return Known(name, "factory", "train", _timm_by_name, "argument")
    if name.startswith("timm.models.") and last.islower() and last in names_of("timm"):
        return Known(name, "factory", "train", partial(_from_table, "timm", last), "argument")
    return None


def _timm_by_name(arguments: Arguments, complete: bool) -> KnownContents | None:  # noqa: FBT001 - see above
    model = arguments.get("model_name", arguments.get(0))
    if not isinstance(model, str):
        return None
    model = model.removeprefix("timm/").removeprefix("hf-hub:timm/").removeprefix("hf_hub:timm/")
    name = model.partition(".")[0]
    known = names_of("timm")
    # Names of old end in what they were trained on: tf_efficientnet_b4_ns, resnetv2_50x1_bitm_in21k.
    while name not in known and "_" in name:
        name = name.rpartition("_")[0]
    return _from_table("timm", name, arguments, complete)


def _transformers(name: str) -> Known | None:
    parts = name.split(".")
    how = parts[-1] if parts[-1] in {*_PRETRAINED, *_FRESH} else ""
    cls = parts[-2] if how and len(parts) > 2 else parts[-1]
    if not cls[:1].isupper():
        return None
    mode, weights = ("eval", "loaded") if how in _PRETRAINED else ("train", "fresh")
    kind = "factory" if how else "class"
    if re.match(r"(AutoModel\w*|AutoBackbone)$", cls):
        return Known(name, kind, mode, None, weights) if how else None  # type: ignore[arg-type]
    prefix = _prefix(cls)
    if prefix is not None:
        return Known(name, kind, mode, partial(_configured, prefix), weights)  # type: ignore[arg-type]
    return Known(name, kind, mode, None, weights) if _TRANSFORMERS_MODEL.search(cls) else None  # type: ignore[arg-type]


def _prefix(cls: str) -> str | None:
    """The model type a class belongs to: the longest known prefix that a usual ending follows."""
    known = names_of("transformers")
    for length in range(len(cls) - 1, 1, -1):
        if cls[:length] in known:
            return cls[:length] if _TRANSFORMERS_MODEL.match(cls[length:]) else None
    return None


def _configured(prefix: str, arguments: Arguments, complete: bool) -> KnownContents | None:  # noqa: ARG001, FBT001 - see above
    """Contents with the default configuration; a checkpoint's own may switch dropout on, so a "no" is left open."""
    entry = table_entry("transformers", prefix)
    if entry is None:
        return None
    default = entry[0]
    return replace(default, dropout="yes" if default.dropout == "yes" else "unknown")


def _torch(name: str) -> Known | None:
    if name == "torch.hub.load":
        return Known(name, "factory", "unknown", _hub)
    if name == "torch.jit.load":
        return Known(name, "factory", "unknown", None, "loaded")
    return None


def _hub(arguments: Arguments, complete: bool) -> KnownContents | None:  # noqa: FBT001 - see above
    repository, model = arguments.get("repo_or_dir", arguments.get(0)), arguments.get("model", arguments.get(1))
    if isinstance(repository, str) and isinstance(model, str) and repository.startswith("pytorch/vision"):
        return _from_table("torchvision", model, arguments, complete)
    return None


def _diffusers(name: str) -> Known | None:
    parts = name.split(".")
    if parts[-1] in _PRETRAINED and re.search(r"Model|Transformer|Autoencoder|ControlNet", parts[-2]):
        return Known(name, "factory", "eval", None, "loaded")
    if re.match(r"(UNet\w*Model|Autoencoder\w+|ControlNetModel|VQModel|\w*Transformer2DModel)$", parts[-1]):
        return Known(name, "class", "train", None, "fresh")
    return None


def _segmentation_models(name: str) -> Known | None:
    """Documented: decoders use BatchNorm unless ``decoder_use_batchnorm`` or ``decoder_use_norm`` says otherwise."""
    last = name.rpartition(".")[2]
    if last == "from_pretrained":
        return Known(name, "factory", "eval", None, "loaded")
    if last in _SEGMENTATION:
        return Known(name, "class" if last[0].isupper() else "factory", "train", _segmentation_contents, "argument")
    return None


_SEGMENTATION = frozenset(
    ["Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet", "create_model"]
)


def _segmentation_contents(arguments: Arguments, complete: bool) -> KnownContents | None:  # noqa: FBT001 - see above
    if not complete or any(name in arguments for name in ("decoder_use_batchnorm", "decoder_use_norm", "decoder_norm")):
        return None
    return _BATCHNORM


def _fixed(contents: KnownContents) -> partial[KnownContents]:
    return partial(_same, contents)


def _same(contents: KnownContents, arguments: Arguments, complete: bool) -> KnownContents:  # noqa: ARG001, FBT001 - see above
    return contents


def _efficientnet(name: str) -> Known | None:
    """Documented: BatchNorm in every block, dropout of at least .2 before the classifier, drop connect of .2."""
    if name.rpartition(".")[2] in {"from_pretrained", "from_name"}:
        return Known(name, "factory", "train", _fixed(_BATCHNORM_DROPOUT), "loaded" if name.endswith("from_pretrained") else "fresh")
    return None


def _documented(name: str) -> Known | None:
    return _DOCUMENTED.get(name)


_DOCUMENTED: dict[str, Known] = {
    known.name: known
    for known in (
        # The documentation of open_clip says that models come in train mode, that of CLIP shows its loader ending in eval().
        Known("open_clip.create_model", "factory", "train", None, "argument"),
        Known("open_clip.create_model_and_transforms", "pair", "train", None, "argument"),
        Known("open_clip.create_model_from_pretrained", "pair", "train", None, "loaded"),
        Known("clip.load", "pair", "eval", None, "loaded"),
        # encode() and predict() switch by themselves.
        Known("sentence_transformers.SentenceTransformer", "framework", "unknown", None, "loaded"),
        Known("sentence_transformers.CrossEncoder", "framework", "unknown", None, "loaded"),
        Known("ultralytics.YOLO", "framework", "unknown", None, "loaded"),
        Known("ultralytics.RTDETR", "framework", "unknown", None, "loaded"),
        Known("ultralytics.SAM", "framework", "unknown", None, "loaded"),
        # A backbone of blocks with BatchNorm and a Dropout of .6 before its last linear layer.
        Known("facenet_pytorch.InceptionResnetV1", "class", "train", _fixed(_BATCHNORM_DROPOUT), "argument"),
        Known("peft.get_peft_model", "wrapper", "unknown"),
    )
}


def _train_class(name: str) -> Known | None:
    """Model classes of libraries whose constructors leave train mode; what they hold depends on too many arguments."""
    last = name.rpartition(".")[2]
    return Known(name, "class", "train", None, "fresh") if last[:1].isupper() and ".nets." in name else None


def _pretrainedmodels(name: str) -> Known | None:
    return Known(name, "factory", "train", None, "argument") if name.count(".") == 1 and name.islower() else None


_LIBRARIES = {
    "torchvision": _torchvision,
    "timm": _timm,
    "transformers": _transformers,
    "torch": _torch,
    "diffusers": _diffusers,
    "segmentation_models_pytorch": _segmentation_models,
    "efficientnet_pytorch": _efficientnet,
    "open_clip": _documented,
    "clip": _documented,
    "sentence_transformers": _documented,
    "ultralytics": _documented,
    "facenet_pytorch": _documented,
    "peft": _documented,
    "monai": _train_class,
    "pretrainedmodels": _pretrainedmodels,
}
