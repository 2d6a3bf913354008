"""Shapes that operations are timed at: those of diffusion U-Nets and decoders, ResNets, ConvNeXt and GPT."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CASES", "SMALL", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One operation at one shape."""

    operation: str
    """Key of :data:`benchmarks.fused.gpu.operations.OPERATIONS`."""
    shape: tuple[int, ...]
    where: str
    """The model that has it."""
    channels_last: bool = False
    dtype: str = "bfloat16"

    @property
    def words(self) -> str:
        """``8x320x64x64 channels_last``."""
        told = "x".join(map(str, self.shape))
        return f"{told} channels_last" if self.channels_last else told


_GROUP_NORM = (
    ((2, 320, 64, 64), "SD U-Net, batch 2"),
    ((16, 320, 64, 64), "SD U-Net, batch 16"),
    ((16, 640, 32, 32), "SD U-Net, batch 16"),
    ((16, 1280, 16, 16), "SD U-Net, batch 16"),
    ((16, 2560, 8, 8), "SD U-Net, batch 16"),
    ((1, 128, 1024, 1024), "SD VAE, 1024 pixels"),
    ((1, 512, 128, 128), "SD VAE, 1024 pixels"),
    ((4, 256, 256, 256), "SD VAE, 256 pixels, batch 4"),
)
_BATCH_NORM = (
    ((128, 64, 112, 112), "ResNet-50, batch 128"),
    ((128, 256, 56, 56), "ResNet-50, batch 128"),
    ((128, 512, 28, 28), "ResNet-50, batch 128"),
    ((128, 2048, 7, 7), "ResNet-50, batch 128"),
)
_ROWS = (
    ((64, 56, 56, 128), "ConvNeXt-B, batch 64"),
    ((16, 1024, 768), "GPT-2"),
    ((8, 2048, 1600), "GPT-2 XL"),
    ((4, 4096, 4096), "Llama 7B"),
    ((2, 4096, 8192), "Llama 70B"),
)
_GATED = (
    ((8, 4096, 1280), "SD U-Net, 64 x 64", "geglu"),
    ((8, 1024, 2560), "SD U-Net, 32 x 32", "geglu"),
    ((8, 1024, 2048), "Gemma-like", "geglu_tanh"),
    ((4, 4096, 11008), "Llama 7B", "swiglu"),
    ((1, 4096, 28672), "Llama 70B", "swiglu"),
)

CASES = (
    *(Case("group_norm + silu", shape, where, channels_last) for shape, where in _GROUP_NORM for channels_last in (False, True)),
    *(Case("batch_norm + relu", shape, where, channels_last) for shape, where in _BATCH_NORM for channels_last in (False, True)),
    *(Case("batch_norm + add + relu", shape, where, channels_last) for shape, where in _BATCH_NORM[1:] for channels_last in (False, True)),
    *(Case("add + layer_norm", shape, where) for shape, where in _ROWS[:3]),
    *(Case("add + rms_norm", shape, where) for shape, where in _ROWS[2:]),
    *(Case(operation, shape, where) for shape, where, operation in _GATED),
    Case("group_norm + silu", (16, 320, 64, 64), "SD U-Net, batch 16", dtype="float32"),
    Case("batch_norm + relu", (128, 256, 56, 56), "ResNet-50, batch 128", dtype="float32"),
)
"""What is run, the operations that matter most first."""

SMALL = (
    Case("group_norm + silu", (2, 32, 4, 4), "tiny"),
    Case("group_norm + silu", (2, 32, 5, 3), "tiny", channels_last=True, dtype="float32"),
    Case("batch_norm + relu", (2, 8, 4, 4), "tiny"),
    Case("batch_norm + add + relu", (2, 8, 4, 4), "tiny", channels_last=True),
    Case("add + layer_norm", (2, 3, 16), "tiny"),
    Case("add + rms_norm", (2, 3, 16), "tiny"),
    Case("swiglu", (2, 3, 16), "tiny"),
    Case("geglu", (2, 3, 16), "tiny"),
    Case("geglu_tanh", (2, 3, 16), "tiny"),
)
"""For trying the program out."""
