"""The networks that are trained: ResNet-50, a diffusion U-Net and GPT-2, defined here so that nothing has to be installed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["GPT", "ResNet", "UNet"]


class Bottleneck(nn.Module):
    """Three convolutions with a shortcut, as in torchvision."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != 4 * width:
            self.downsample = nn.Sequential(nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One block."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += identity
        out = self.relu(out)
        return out  # noqa: RET504 - as torchvision writes it


class ResNet(nn.Module):
    """ResNet-50 for ``blocks = (3, 4, 6, 3)`` and ``width = 64``."""

    def __init__(self, blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        layers, channels = [], width
        for stage, count in enumerate(blocks):
            for index in range(count):
                layers.append(Bottleneck(channels, width << stage, 2 if index == 0 and stage > 0 else 1))
                channels = 4 * (width << stage)
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of images (N, 3, H, W)."""
        found: torch.Tensor = self.head(self.layers(self.stem(x)).mean((2, 3)))
        return found


class ResBlock(nn.Module):
    """Norm, SiLU and convolution, twice, with the time step added between."""

    def __init__(self, channels: int, out: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(32, channels), nn.Conv2d(channels, out, 3, padding=1)
        self.time = nn.Linear(time, out)
        self.norm2, self.conv2 = nn.GroupNorm(32, out), nn.Conv2d(out, out, 3, padding=1)
        self.act = nn.SiLU()
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """One block."""
        h = self.conv1(self.act(self.norm1(x))) + self.time(time)[:, :, None, None]
        found: torch.Tensor = self.skip(x) + self.conv2(self.act(self.norm2(h)))
        return found


class GEGLU(nn.Module):
    """The feed-forward part of a diffusion transformer block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj, self.out = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows in, rows out."""
        x, gate = self.proj(x).chunk(2, dim=-1)
        found: torch.Tensor = self.out(x * F.gelu(gate))
        return found


class AttentionBlock(nn.Module):
    """Self-attention over the places of a map, and a feed-forward part."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(32, channels)
        self.norm1, self.qkv, self.proj = nn.LayerNorm(channels), nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.norm2, self.mlp = nn.LayerNorm(channels), GEGLU(channels)

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """Of rows (N, L, C)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found: torch.Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return found

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One block."""
        rows = self.norm(x).flatten(2).transpose(1, 2)
        rows = rows + self.attention(self.norm1(rows))
        rows = rows + self.mlp(self.norm2(rows))
        return x + rows.transpose(1, 2).reshape(x.shape)


class UNet(nn.Module):
    """A diffusion U-Net as Stable Diffusion has it, without text: residual blocks, and attention at the lower resolutions."""

    def __init__(self, width: int = 320, multiples: tuple[int, ...] = (1, 2, 4), depth: int = 2, channels: int = 4, heads: int = 8) -> None:
        super().__init__()
        time = 4 * width
        self.width = width
        self.embed = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        held, now = [width], width
        for level, multiple in enumerate(multiples):
            for _ in range(depth):
                attention = AttentionBlock(multiple * width, heads) if level else nn.Identity()
                self.down.append(nn.ModuleList([ResBlock(now, multiple * width, time), attention]))
                now = multiple * width
                held.append(now)
            if level + 1 < len(multiples):
                self.down.append(nn.ModuleList([nn.Conv2d(now, now, 3, 2, 1)]))
                held.append(now)
        self.middle = ResBlock(now, now, time)
        for level, multiple in reversed(list(enumerate(multiples))):
            for index in range(depth + 1):
                attention = AttentionBlock(multiple * width, heads) if level else nn.Identity()
                up = nn.Upsample(scale_factor=2) if level and index == depth else nn.Identity()
                self.up.append(nn.ModuleList([ResBlock(now + held.pop(), multiple * width, time), attention, up]))
                now = multiple * width
        self.last = nn.Sequential(nn.GroupNorm(32, now), nn.SiLU(), nn.Conv2d(now, channels, 3, padding=1))

    def forward(self, x: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """The noise in latents (N, C, H, W) at time steps (N,)."""
        frequencies = torch.exp(torch.arange(self.width // 2, device=x.device) * (-9.2 / (self.width // 2)))
        angles = steps[:, None] * frequencies
        time = self.embed(torch.cat([angles.cos(), angles.sin()], dim=-1).to(x.dtype))
        h = self.first(x)
        held = [h]
        for part in self.down:
            h = part[1](part[0](h, time)) if len(part) > 1 else part[0](h)
            held.append(h)
        h = self.middle(h, time)
        for part in self.up:
            h = part[2](part[1](part[0](torch.cat([h, held.pop()], dim=1), time)))
        found: torch.Tensor = self.last(h)
        return found


class GPTBlock(nn.Module):
    """Attention and feed-forward, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.qkv, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ln_2, self.fc, self.out = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.act = nn.GELU("tanh")

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """Of rows (N, L, C), each to those before it."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found: torch.Tensor = self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return found

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One block."""
        x = x + self.attention(self.ln_1(x))
        return x + self.out(self.act(self.fc(self.ln_2(x))))


class GPT(nn.Module):
    """GPT-2 for the sizes that are the defaults."""

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12, words: int = 50257, length: int = 1024) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(GPTBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Scores of the next word for each of (N, L)."""
        x = self.words(words) + self.places(torch.arange(words.shape[1], device=words.device))
        found: torch.Tensor = self.head(self.norm(self.blocks(x)))
        return found
