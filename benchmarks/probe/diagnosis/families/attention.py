"""Transformers."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.probe.diagnosis.network import family

__all__: list[str] = []


class _Encoder(nn.Module):
    """Rows of a digit as tokens, a class token in front."""

    def __init__(self, width: int, blocks: nn.Module, *, norm: bool = True) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 9, width) * 0.02)
        self.blocks = blocks
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), self.embed(x)], dim=1) + self.position
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class _Block(nn.Module):
    """Pre-norm block, as in GPT-2 and ViT."""

    def __init__(self, width: int, *, causal: bool = False, scale: float | None = None, drop: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.fc1, self.gelu, self.fc2 = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        self.drop = nn.Dropout(drop)
        self.causal = causal
        self.gamma = None if scale is None else nn.Parameter(torch.full((width,), scale))

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(query, key, value, is_causal=self.causal).transpose(1, 2).flatten(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gamma = 1.0 if self.gamma is None else self.gamma
        x = x + gamma * self.drop(self.attend(self.norm1(x)))
        return x + gamma * self.drop(self.fc2(self.gelu(self.fc1(self.norm2(x)))))


@family("digit_rows")
def vit(draw: random.Random) -> nn.Module:
    """Pre-norm encoder."""
    width = draw.choice((32, 48))
    return _Encoder(width, nn.Sequential(*(_Block(width, drop=0.1) for _ in range(draw.randint(2, 6)))))


@family("digit_rows", seeds=(0, 1, 2), odd="96 blocks")
def transformer_96(draw: random.Random) -> nn.Module:
    """As deep as GPT-3."""
    width = draw.choice((16, 24))
    return _Encoder(width, nn.Sequential(*(_Block(width) for _ in range(96))))


@family("digit_rows", seeds=(0, 1), odd="LayerScale begins at 1e-5")
def vit_layer_scale(draw: random.Random) -> nn.Module:
    """CaiT."""
    return _Encoder(32, nn.Sequential(*(_Block(32, scale=1e-5) for _ in range(draw.randint(4, 12)))))


@family("digit_rows", seeds=(0, 1, 2), odd="LayerNorm after the sum: gradients differ along the depth")
def transformer_post_norm(draw: random.Random) -> nn.Module:
    """The first transformer's order, in torch's own layers."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    return _Encoder(32, nn.TransformerEncoder(layer, draw.randint(2, 5), enable_nested_tensor=False), norm=False)


class _Language(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.words = nn.Embedding(24, width)
        self.position = nn.Embedding(16, width)
        self.blocks = nn.Sequential(*(_Block(width, causal=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 24, bias=False)
        self.head.weight = self.words.weight
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.words(x) + self.position.weight[: x.shape[1]])))


@family("language", odd="the head is the embedding: one parameter at two places")
def gpt_tied(draw: random.Random) -> nn.Module:
    """GPT-2's shape and initialization."""
    return _Language(draw.choice((32, 48)), draw.randint(2, 6))


class _Experts(nn.Module):
    """Each token goes to one of the experts."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.router = nn.Linear(width, count)
        experts = (nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)) for _ in range(count))
        self.experts = nn.ModuleList(experts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(x).flatten(0, 1)
        weight, chosen = self.router(tokens).softmax(dim=1).max(dim=1)
        out = torch.zeros_like(tokens)
        for index, expert in enumerate(self.experts):
            taken = chosen == index
            if taken.any():
                out[taken] = weight[taken, None] * expert(tokens[taken])
        return x + out.view_as(x)


@family("digit_rows", odd="a router sends each token to one of 16 experts: some get none, and no gradient")
def mixture_of_experts(draw: random.Random) -> nn.Module:
    """Switch transformer's layers."""
    blocks = [layer for _ in range(draw.randint(1, 3)) for layer in (_Block(32), _Experts(32, 16))]
    return _Encoder(32, nn.Sequential(*blocks))


class _Masked(nn.Module):
    """Attention that never looks at padding; words beyond the first eight are masked for half of the samples."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(24, width, padding_idx=None)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
        padding[::2, 8:] = True
        words = self.words(x)
        out, _ = self.attention(words, words, words, key_padding_mask=padding, need_weights=False)
        return self.head(self.norm(words + out).masked_fill(padding[..., None], 0.0).mean(dim=1))


@family("topic", lr=3e-3, seeds=(0, 1), odd="attention with masked positions, infinite inside the softmax")
def attention_masked(draw: random.Random) -> nn.Module:
    """Padding masks."""
    return _Masked(draw.choice((16, 32)))
