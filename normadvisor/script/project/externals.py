"""Names outside the project: one spelling for each, however it was imported."""

from __future__ import annotations

import sys

__all__ = ["NEVER_LOCAL", "STANDARD", "external_name"]

STANDARD = frozenset(sys.stdlib_module_names)

NEVER_LOCAL = STANDARD | {
    "accelerate", "cv2", "datasets", "diffusers", "einops", "ignite", "keras", "lightning", "matplotlib", "monai", "numpy", "pandas", "PIL",
    "pytorch_lightning", "scipy", "sklearn", "tensorflow", "timm", "torch", "torchmetrics", "torchvision", "tqdm", "transformers", "wandb",
}  # fmt: skip
"""Inside a package these never mean a neighbouring file of the same name."""

_PREFIXES = {
    "torch.nn.modules.container": "torch.nn",
    "torch.nn.parallel.distributed": "torch.nn.parallel",
    "torch.nn.parallel.data_parallel": "torch.nn.parallel",
    "torch.utils.data.dataloader": "torch.utils.data",
    "torch.utils.data.dataset": "torch.utils.data",
    "torch.utils.data.sampler": "torch.utils.data",
    "torch.cuda.amp.autocast_mode": "torch.cuda.amp",
    "torch.cuda.amp.grad_scaler": "torch.cuda.amp",
    "torch.autograd.grad_mode": "torch",
    "torch.autograd.variable": "torch.autograd",
    "torch.jit._trace": "torch.jit",
    "torch.jit._script": "torch.jit",
    "torch.onnx.utils": "torch.onnx",
    "torchvision.models.segmentation.segmentation": "torchvision.models.segmentation",
    "timm.models._factory": "timm",
    "timm.models.factory": "timm",
    "timm.models.create_model": "timm.create_model",
    "lightning.pytorch": "pytorch_lightning",
    "pytorch_lightning.core.module": "pytorch_lightning",
    "pytorch_lightning.core.lightning": "pytorch_lightning",
    "pytorch_lightning.trainer.trainer": "pytorch_lightning",
    "segmentation_models_pytorch.decoders": "segmentation_models_pytorch",
}
_EXACT = {
    "torch.autograd.no_grad": "torch.no_grad",
    "torch.autograd.enable_grad": "torch.enable_grad",
    "torch.autograd.set_grad_enabled": "torch.set_grad_enabled",
    "torch.autograd.inference_mode": "torch.inference_mode",
    "torch.nn.DistributedDataParallel": "torch.nn.parallel.DistributedDataParallel",
    "torch.nn.parallel.DataParallel": "torch.nn.DataParallel",
    "torch.nn.utils.clip_grad.clip_grad_norm_": "torch.nn.utils.clip_grad_norm_",
    "lightning.LightningModule": "pytorch_lightning.LightningModule",
    "lightning.LightningDataModule": "pytorch_lightning.LightningDataModule",
    "lightning.Trainer": "pytorch_lightning.Trainer",
    "lightning.Callback": "pytorch_lightning.Callback",
    "lightning.fabric.Fabric": "lightning.Fabric",
    "torch.functional.softmax": "torch.softmax",
}
_NORMALISED = ("torch", "timm.", "lightning.", "pytorch_lightning.", "segmentation_models_pytorch.", "transformers.models.")


def external_name(dotted: str) -> str:
    """The public spelling of an external dotted name: ``torch.nn.modules.batchnorm.BatchNorm2d`` is ``torch.nn.BatchNorm2d``."""
    if not dotted.startswith(_NORMALISED):
        return dotted
    for prefix, public in _PREFIXES.items():
        if dotted.startswith(prefix) and dotted[len(prefix) : len(prefix) + 1] in {"", "."}:
            dotted = public + dotted[len(prefix) :]
    parts = dotted.split(".")
    if dotted.startswith("torch.nn.modules.") and len(parts) >= 5:
        parts[2:4] = []
    elif dotted.startswith("transformers.models.") and len(parts) >= 5 and parts[-1][:1].isupper():
        parts = ["transformers", parts[-1]]
    elif dotted.startswith(("torch.optim.", "torchvision.models.")) and len(parts) == 4 and _one_per_file(parts):
        del parts[2]
    dotted = ".".join(parts)
    if dotted.startswith("torch.nn.modules."):
        dotted = "torch.nn." + parts[-1]
    return _EXACT.get(dotted, dotted)


def _one_per_file(parts: list[str]) -> bool:
    """Whether ``torch.optim.adam.Adam`` and ``torchvision.models.resnet.resnet50`` repeat the module in which the name is defined."""
    if parts[1] == "models":
        return parts[2] not in {"detection", "segmentation", "video", "quantization", "optical_flow"}
    return parts[2] != "lr_scheduler" and parts[3][:1].isupper()
