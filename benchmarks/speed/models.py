"""Source files of models made to a size."""

from __future__ import annotations

from pathlib import Path

__all__ = ["LLAMA_70B", "write_stack"]

_STACK = '''"""A stack of convolution, normalization and activation."""

from torch import nn


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        for _ in range({blocks}):
            layers += [nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)
'''

LLAMA_70B = '''"""The shape of a Llama model with 70 billion parameters."""

from transformers import LlamaConfig, LlamaForCausalLM


def llama_70b() -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=128256,
            hidden_size=8192,
            intermediate_size=28672,
            num_hidden_layers=80,
            num_attention_heads=64,
            num_key_value_heads=8,
        )
    )
'''


def write_stack(folder: Path, nodes: int) -> Path:
    """Write a file whose model has about ``nodes`` graph nodes (input and output included)."""
    path = folder / f"stack_{nodes}.py"
    path.write_text(_STACK.format(blocks=max(0, (nodes - 5) // 3)), encoding="utf-8")
    return path
