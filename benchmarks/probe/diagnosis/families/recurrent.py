"""Recurrent networks and bags of words."""

from __future__ import annotations

import random

import torch
from torch import nn

from benchmarks.probe.diagnosis.network import family

__all__: list[str] = []


class _Recurrent(nn.Module):
    """Rows of a digit one after the other; the last state is classified."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.rnn = cell
        self.head = nn.Linear(cell.hidden_size * (2 if cell.bidirectional else 1), 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


@family("digit_rows", seeds=(0, 1, 2), odd="tanh, and the same weights at each of the steps")
def rnn_tanh(draw: random.Random) -> nn.Module:
    """Elman's network with orthogonal recurrent weights."""
    cell = nn.RNN(8, draw.choice((32, 64)), num_layers=draw.randint(1, 2), batch_first=True)
    for name, weight in cell.named_parameters():
        if name.startswith("weight_hh"):
            nn.init.orthogonal_(weight)
    return _Recurrent(cell)


@family("digit_rows", lr=3e-3)
def lstm(draw: random.Random) -> nn.Module:
    """Forget gates begin open, as usual."""
    cell = nn.LSTM(8, draw.choice((32, 64)), num_layers=draw.randint(1, 3), batch_first=True)
    for name, bias in cell.named_parameters():
        if name.startswith("bias_ih"):
            nn.init.constant_(bias.data[cell.hidden_size : 2 * cell.hidden_size], 1.0)
    return _Recurrent(cell)


@family("digit_rows", lr=3e-3, seeds=(0, 1), odd="both directions")
def gru(draw: random.Random) -> nn.Module:
    """Bidirectional."""
    return _Recurrent(nn.GRU(8, draw.choice((24, 48)), bidirectional=True, batch_first=True))


class _Language(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(24, width)
        self.rnn = nn.LSTM(width, 48, batch_first=True)
        self.head = nn.Linear(48, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.words(x))[0])


@family("language", lr=5e-3, seeds=(0, 1))
def lstm_language(draw: random.Random) -> nn.Module:
    """The next word."""
    return _Language(draw.choice((16, 32)))


class _Cell(nn.Module):
    """A recurrence by hand: modules that run once per step, each with its activation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.inner = nn.Linear(8, width)
        self.hidden = nn.Linear(width, width)
        self.tanh = nn.Tanh()
        self.head = nn.Linear(width, 10)
        nn.init.orthogonal_(self.hidden.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = x.new_zeros(len(x), self.width)
        for step in range(x.shape[1]):
            state = self.tanh(self.inner(x[:, step]) + self.hidden(state))
        return self.head(state)


@family("digit_rows", lr=3e-3, seeds=(0, 1, 2), odd="layers that run eight times in each pass")
def rnn_by_hand(draw: random.Random) -> nn.Module:
    """An unrolled loop."""
    return _Cell(draw.choice((32, 48)))


class _Bag(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(24, width)
        self.hidden = nn.Linear(width, 64)
        self.relu = nn.ReLU()
        self.head = nn.Linear(64, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.relu(self.hidden(self.words(x).mean(dim=1))))


@family("topic", lr=5e-3, seeds=(0, 1, 2))
def bag_of_words(draw: random.Random) -> nn.Module:
    """Mean of embeddings."""
    return _Bag(draw.choice((16, 32)))


class _WideBag(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(count, 32, mode="mean")
        self.head = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.words(x))


@family("topic", lr=5e-3, seeds=(0, 1), odd="a large vocabulary of which few words are met: most rows get no gradient")
def bag_wide(draw: random.Random) -> nn.Module:
    """Rare words."""
    return _WideBag(draw.choice((2000, 5000)))
