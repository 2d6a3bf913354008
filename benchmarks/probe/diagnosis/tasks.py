"""Small tasks with something to learn, so that a network that trains can be told from one that does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

__all__ = ["TASKS", "Batch", "Task"]

Batch = tuple[torch.Tensor, ...]
"""Inputs, and the target last."""

_TEST = 397
"""Digits that are kept for testing, of 1797."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Batches and a loss."""

    name: str
    draw: Callable[[torch.Generator, int], Batch]
    """Training samples: a generator and how many."""
    test: Callable[[], Batch]
    """Samples that training does not see, in an order in which neighbours are alike, as those of a real stream are."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    classes: int | None = None
    """Of a classification with cross entropy; ``None`` for all others."""
    loss_name: str | None = None
    """The loss as ``normadvisor probe --loss`` names it, where it has a name there."""
    trivial: float = 1.0
    """Loss of the best answer that does not look at the input."""
    floor: float = 0.0
    """Smallest loss that can be hoped for."""

    def batches(self, seed: int, count: int, size: int) -> list[Batch]:
        """Training batches, the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        return [self.draw(generator, size) for _ in range(count)]

    def skill(self, loss: float) -> float:
        """1 for the smallest loss, 0 for one that does not look at the input, -1 for anything much worse or not a number."""
        skill = (self.trivial - loss) / (self.trivial - self.floor)
        return max(-1.0, skill) if math.isfinite(skill) else -1.0


@cache
def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels of mean 0 and variance 1 over all of them, (1797, 64), and classes, (1797,)."""
    data = load_digits()
    pixels = torch.from_numpy(data.data).float()
    return (pixels - pixels.mean()) / pixels.std(), torch.from_numpy(data.target).long()


def _raw_digits() -> torch.Tensor:
    """The same pixels in [0, 1]."""
    return torch.from_numpy(load_digits().data).float() / 16


def _shaped(shape: tuple[int, ...]) -> tuple[Callable[[torch.Generator, int], Batch], Callable[[], Batch]]:
    def draw(generator: torch.Generator, size: int) -> Batch:
        pixels, classes = _digits()
        chosen = torch.randint(len(pixels) - _TEST, (size,), generator=generator)
        return pixels[chosen].reshape(size, *shape), classes[chosen]

    def test() -> Batch:
        pixels, classes = _digits()
        order = classes[-_TEST:].argsort()
        return pixels[-_TEST:][order].reshape(-1, *shape), classes[-_TEST:][order]

    return draw, test


def _digit_task(name: str, shape: tuple[int, ...], *, loss_name: str = "cross_entropy") -> Task:
    draw, test = _shaped(shape)
    loss = F.cross_entropy if loss_name == "cross_entropy" else F.nll_loss
    return Task(name=name, draw=draw, test=test, loss=loss, classes=10, loss_name=loss_name, trivial=math.log(10))


def _images(generator: torch.Generator | None, size: int) -> torch.Tensor:
    """Digits in [-1, 1], (size, 1, 8, 8); those for testing without a generator."""
    pixels = _raw_digits() * 2 - 1
    if generator is None:
        return pixels[-_TEST:].reshape(-1, 1, 8, 8)
    return pixels[torch.randint(len(pixels) - _TEST, (size,), generator=generator)].reshape(size, 1, 8, 8)


def _reconstruct() -> Task:
    def draw(generator: torch.Generator | None, size: int) -> Batch:
        images = _images(generator, size)
        return images, images

    variance = float(_images(None, 0).var(dim=0).mean())
    return Task(name="reconstruct", draw=draw, test=lambda: draw(None, 0), loss=F.mse_loss, loss_name="mse", trivial=variance)


def _generate() -> Task:
    """Noise becomes digits: their distributions are compared along fixed directions (sliced Wasserstein distance)."""
    directions = F.normalize(torch.randn(64, 128, generator=torch.Generator().manual_seed(5)), dim=0)

    def distance(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        ours, theirs = (images.flatten(1) @ directions for images in (made, real))
        return F.mse_loss(ours.sort(dim=0).values, theirs.sort(dim=0).values)

    def draw(generator: torch.Generator, size: int) -> Batch:
        return torch.randn(size, 16, generator=generator), _images(generator, size)

    def test() -> Batch:
        real = _images(None, 0)
        return torch.randn(len(real), 16, generator=torch.Generator().manual_seed(6)), real

    real = _images(None, 0)
    trivial = float(distance(real.mean(dim=0, keepdim=True).expand_as(real), real))
    return Task(name="generate", draw=draw, test=test, loss=distance, trivial=trivial)


def _discriminate() -> Task:
    """Digits from digits whose rows are shuffled and mirrored."""

    def draw(generator: torch.Generator | None, size: int) -> Batch:
        images = _images(generator, size)
        fake = images.flip(2)[:, :, [3, 0, 6, 1, 7, 2, 5, 4]]
        half = len(images) // 2
        labels = torch.cat([torch.ones(half, 1), torch.zeros(len(images) - half, 1)])
        return torch.cat([images[:half], fake[half:]]), labels

    loss = F.binary_cross_entropy_with_logits
    return Task(name="discriminate", draw=draw, test=lambda: draw(None, 0), loss=loss, loss_name="bce_with_logits", trivial=math.log(2))


def _probability() -> Task:
    """The same, for networks that end in a sigmoid."""
    base = _discriminate()
    loss = F.binary_cross_entropy
    return Task(name="probability", draw=base.draw, test=base.test, loss=loss, loss_name="bce", trivial=base.trivial)


def _segment() -> Task:
    """Which pixels of a noisy digit of 16 by 16 belong to the stroke."""

    def draw(generator: torch.Generator, size: int) -> Batch:
        clean = F.interpolate(_images(generator, size), scale_factor=2.0)
        noise = torch.randn(clean.shape, generator=generator)
        return clean + noise, (clean[:, 0] > 0).long()

    def test() -> Batch:
        return draw(torch.Generator().manual_seed(7), 256)

    share = float((_images(None, 0) > 0).float().mean())
    trivial = -share * math.log(share) - (1 - share) * math.log(1 - share)
    return Task(name="segment", draw=draw, test=test, loss=F.cross_entropy, classes=2, loss_name="cross_entropy", trivial=trivial)


def _same() -> Task:
    """Whether two digits are of one class: two inputs."""

    def pairs(generator: torch.Generator, size: int, start: int, end: int) -> Batch:
        pixels, classes = _digits()
        first = torch.randint(start, end, (size,), generator=generator)
        second = torch.randint(start, end, (size,), generator=generator)
        for index in range(0, size, 2):  # Every other pair is of one class.
            alike = (classes[start:end] == classes[first[index]]).nonzero().flatten() + start
            second[index] = alike[torch.randint(len(alike), (1,), generator=generator)]
        same = (classes[first] == classes[second]).float()
        return pixels[first].reshape(size, 1, 8, 8), pixels[second].reshape(size, 1, 8, 8), same

    def draw(generator: torch.Generator, size: int) -> Batch:
        return pairs(generator, size, 0, len(_digits()[0]) - _TEST)

    def test() -> Batch:
        count = len(_digits()[0])
        return pairs(torch.Generator().manual_seed(8), 256, count - _TEST, count)

    loss = F.binary_cross_entropy_with_logits
    return Task(name="same", draw=draw, test=test, loss=loss, loss_name="bce_with_logits", trivial=math.log(2))


_WORDS = 24


def _chains(generator: torch.Generator, size: int, length: int) -> torch.Tensor:
    """Walks over 24 words in which one of three successors follows with .8, .15 and .05."""
    successors = torch.stack([torch.randperm(_WORDS, generator=torch.Generator().manual_seed(seed)) for seed in range(3)], dim=1)
    words = [torch.randint(_WORDS, (size,), generator=generator)]
    chance = torch.tensor([0.8, 0.15, 0.05])
    for _ in range(length):
        words.append(successors[words[-1], torch.multinomial(chance, size, replacement=True, generator=generator)])
    return torch.stack(words, dim=1)


def _language() -> Task:
    """The next word, (N, 16) to (N, 16, 24)."""

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(output.flatten(0, 1), target.flatten())

    def draw(generator: torch.Generator, size: int) -> Batch:
        words = _chains(generator, size, 16)
        return words[:, :-1], words[:, 1:]

    floor = -sum(p * math.log(p) for p in (0.8, 0.15, 0.05))
    return Task(
        name="language",
        draw=draw,
        test=lambda: draw(torch.Generator().manual_seed(9), 128),
        loss=loss,
        trivial=math.log(_WORDS),
        floor=floor,
    )


def _topic() -> Task:
    """Which of six groups most of twelve words are from, (N, 12) to (N, 6): a bag of words."""

    def draw(generator: torch.Generator, size: int) -> Batch:
        topics = torch.randint(6, (size,), generator=generator)
        own = topics[:, None] * 4 + torch.randint(4, (size, 12), generator=generator)
        noise = torch.randint(_WORDS, (size, 12), generator=generator)
        return torch.where(torch.rand(size, 12, generator=generator) < 0.5, own, noise), topics

    def test() -> Batch:
        words, topics = draw(torch.Generator().manual_seed(10), 300)
        order = topics.argsort()
        return words[order], topics[order]

    return Task(name="topic", draw=draw, test=test, loss=F.cross_entropy, classes=6, loss_name="cross_entropy", trivial=math.log(6))


def _regress() -> Task:
    """A smooth function of twelve numbers, two of which are of no use."""

    def draw(generator: torch.Generator, size: int) -> Batch:
        x = torch.randn(size, 12, generator=generator)
        y = torch.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * x[:, 3:10].sum(dim=1)
        return x, y[:, None]

    return Task(
        name="regress",
        draw=draw,
        test=lambda: draw(torch.Generator().manual_seed(11), 512),
        loss=F.mse_loss,
        loss_name="mse",
        trivial=3.25,
    )


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _digit_task("digits", (64,)),
        _digit_task("digit_images", (1, 8, 8)),
        _digit_task("digit_rows", (8, 8)),
        _digit_task("digits_nll", (64,), loss_name="nll"),
        _reconstruct(),
        _generate(),
        _discriminate(),
        _probability(),
        _segment(),
        _same(),
        _language(),
        _topic(),
        _regress(),
    )
}
"""By name."""
