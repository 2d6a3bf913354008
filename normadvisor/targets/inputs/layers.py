"""What a layer takes: the input that the layer's own configuration allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from normadvisor.targets.inputs.spec import TensorSpec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BATCH", "SEQUENCE", "first_layer", "layer_input", "min_embeddings"]

BATCH = 2
"""Samples in an inferred input: the smallest batch that has batch statistics."""
SEQUENCE = 16
"""Steps in an inferred sequence."""
IMAGE = 224
"""Height and width of an inferred image: what most image classifiers are trained at."""
SMALL_IMAGE = 28
"""Height and width of an inferred one-channel image: MNIST's."""
FEATURE_MAP = 32
"""Height and width of an inferred input with more channels than an image has."""
CLIP = 16
"""Frames of an inferred clip."""
CLIP_SIZE = 112
"""Height and width of an inferred clip."""
SIGNAL = 1024
"""Samples of an inferred one-dimensional signal."""


def layer_input(module: nn.Module) -> TensorSpec | None:
    """A batched input for a layer; ``None`` when the layer's configuration says nothing about its input's sizes."""
    from torch import nn

    if isinstance(module, nn.modules.conv._ConvNd):  # noqa: SLF001 -- the common base of all convolutions has no public name
        return _convolution(module)
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return TensorSpec((BATCH, SEQUENCE), "int64", high=module.num_embeddings)
    if isinstance(module, nn.RNNBase):
        steps = (BATCH, SEQUENCE) if module.batch_first else (SEQUENCE, BATCH)
        return TensorSpec((*steps, module.input_size))
    if isinstance(module, nn.RNNCellBase):
        return TensorSpec((BATCH, module.input_size))
    if isinstance(module, nn.MultiheadAttention):
        return TensorSpec((BATCH, SEQUENCE, module.embed_dim) if module.batch_first else (SEQUENCE, BATCH, module.embed_dim))
    if isinstance(module, nn.modules.batchnorm._NormBase):  # noqa: SLF001 -- the common base of batch and instance norms
        return _batch_norm(module)
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        shape = tuple(module.normalized_shape)
        return TensorSpec((BATCH, SEQUENCE, *shape) if len(shape) == 1 else (BATCH, *shape))
    if isinstance(module, nn.GroupNorm):
        return TensorSpec((BATCH, module.num_channels, FEATURE_MAP, FEATURE_MAP))
    return _by_attributes(module)


def _batch_norm(module: Any) -> TensorSpec | None:
    image = (FEATURE_MAP,) * 2
    dims: tuple[int, ...] = {"1": (), "2": image, "3": (CLIP,) * 3}.get(type(module).__name__.rstrip("d")[-1:], image)
    return TensorSpec((BATCH, module.num_features, *dims)) if module.num_features else None


def _convolution(module: Any) -> TensorSpec:
    dims = len(module.kernel_size)
    channels = module.in_channels or 3
    if module.transposed and not any(module.padding) and channels > 4:
        return TensorSpec((BATCH, channels, *(1,) * dims))  # a generator's first layer blows a latent vector up
    kernel = max(module.kernel_size)
    if dims == 1:
        length = SIGNAL if channels <= 4 else 128
        return TensorSpec((BATCH, channels, max(length, kernel)))
    if dims == 3:
        size = CLIP_SIZE if channels <= 4 else CLIP
        return TensorSpec((BATCH, channels, max(CLIP, module.kernel_size[0]), size, size))
    size = SMALL_IMAGE if channels == 1 else IMAGE if channels <= 4 else FEATURE_MAP
    return TensorSpec((BATCH, channels, max(size, kernel), max(size, kernel)))


def _by_attributes(module: Any) -> TensorSpec | None:
    """Layers outside torch.nn that say ``in_features`` or ``in_channels`` like its own."""
    weight = getattr(module, "weight", None)
    rank = getattr(weight, "ndim", 0)
    features = getattr(module, "in_features", None)
    if isinstance(features, int) and features > 0:
        return TensorSpec((BATCH, features))
    channels = getattr(module, "in_channels", None)
    if isinstance(channels, int) and channels > 0 and rank == 4:
        size = IMAGE if channels <= 4 else FEATURE_MAP
        return TensorSpec((BATCH, channels, size, size))
    first = getattr(module, "in1_features", None)
    return TensorSpec((BATCH, first)) if isinstance(first, int) else None


def first_layer(module: nn.Module, skip: int = 0) -> nn.Module | None:
    """The first layer in order of registration whose input sizes are known, after ``skip`` others."""
    for child in module.modules():
        if layer_input(child) is not None and not _inside_attention(child):
            if skip == 0:
                return child
            skip -= 1
    return None


def _inside_attention(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear)


def min_embeddings(model: nn.Module) -> int:
    """Smallest table of ids in the model, so that ids below it fit every table (tables of up to 3 types aside); 2 without one."""
    from torch import nn

    sizes = [module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding)]
    large = [size for size in sizes if size > 3]
    return min(large, default=min(sizes, default=2))
