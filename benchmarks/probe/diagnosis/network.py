"""The networks: a family builds a healthy one, a plant puts one known trouble into it; both are drawn from the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.probe.diagnosis.tasks import TASKS, Task

__all__ = ["FAMILIES", "KINDS", "PLANTS", "Family", "Network", "Plant", "Setup", "family", "networks", "plant"]

KINDS = ("vanishing", "exploding", "dead", "saturated", "nan", "no-gradient", "bad-init", "mode")
"""The troubles, as they are planted."""


@dataclass(slots=True, kw_only=True)
class Setup:
    """A network with all that its training needs; a plant changes any of it."""

    model: nn.Module
    task: Task
    optimizer: str
    lr: float

    def new_optimizer(self, name: str | None = None, lr: float | None = None, *, fused: bool = False) -> torch.optim.Optimizer:
        """An optimizer of all parameters, frozen ones included, as most scripts make it."""
        parameters = list(self.model.parameters())
        rate = self.lr if lr is None else lr
        if (name or self.optimizer) == "momentum":
            return torch.optim.SGD(parameters, lr=rate, momentum=0.9, fused=fused)
        return torch.optim.AdamW(parameters, lr=rate, fused=fused)


Build = Callable[[random.Random], nn.Module]
Change = Callable[[Setup, random.Random], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Networks of one architecture; width, depth and the like are drawn."""

    name: str
    build: Build
    task: str
    optimizer: str
    lr: float
    seeds: tuple[int, ...]
    """Seeds of its healthy networks."""
    odd: str
    """What may look like a trouble and is none; empty where nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One trouble: its cause in code."""

    name: str
    kind: str
    cause: str
    change: Change
    families: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of the benchmark."""

    family: Family
    plant: Plant | None
    seed: int

    @property
    def name(self) -> str:
        """Family, plant and seed."""
        return f"{self.family.name}/{self.plant.name if self.plant else 'healthy'}/{self.seed}"

    @property
    def kind(self) -> str:
        """The planted trouble, or ``healthy``."""
        return self.plant.kind if self.plant else "healthy"

    @property
    def development(self) -> bool:
        """Whether thresholds may be chosen by it: even seeds; the others are held out."""
        return self.seed % 2 == 0

    @property
    def twin(self) -> Network:
        """The same network without the plant."""
        return Network(family=self.family, plant=None, seed=self.seed)

    def setup(self) -> Setup:
        """Build it; the same numbers each time. The global generator of torch is left seeded."""
        torch.manual_seed(self.seed)
        model = self.family.build(random.Random(f"{self.family.name} {self.seed}"))
        setup = Setup(model=model, task=TASKS[self.family.task], optimizer=self.family.optimizer, lr=self.family.lr)
        if self.plant:
            self.plant.change(setup, random.Random(f"{self.name}"))
        return setup


FAMILIES: dict[str, Family] = {}
PLANTS: dict[str, Plant] = {}


def family(
    task: str,
    *,
    optimizer: str = "adamw",
    lr: float = 1e-3,
    seeds: tuple[int, ...] = (0, 1, 2, 3),
    odd: str = "",
) -> Callable[[Build], Build]:
    """Register a builder of healthy networks under its name."""

    def register(build: Build) -> Build:
        name = build.__name__.replace("_", "-")
        FAMILIES[name] = Family(name=name, build=build, task=task, optimizer=optimizer, lr=lr, seeds=seeds, odd=odd)
        return build

    return register


def plant(kind: str, families: str, *, seeds: tuple[int, ...] = (0, 1)) -> Callable[[Change], Change]:
    """Register a trouble under its function's name; its docstring is the cause."""
    if kind not in KINDS:
        raise ValueError(f"{kind} is none of {', '.join(KINDS)}")

    def register(change: Change) -> Change:
        name = change.__name__.replace("_", "-")
        if name in PLANTS:
            raise ValueError(f"two plants are named {name}")
        cause = (change.__doc__ or "").strip().rstrip(".")
        PLANTS[name] = Plant(name=name, kind=kind, cause=cause, change=change, families=tuple(families.split()), seeds=seeds)
        return change

    return register


_CANDIDATES = 3
"""Networks with one plant in each half that are tried at all."""


def networks() -> Iterator[Network]:
    """All of them, healthy and planted, before those are left out whose ground truth training does not bear out."""
    for healthy in FAMILIES.values():
        for seed in healthy.seeds:
            yield Network(family=healthy, plant=None, seed=seed)
    for trouble in PLANTS.values():
        every = [Network(family=FAMILIES[name], plant=trouble, seed=seed) for name in trouble.families for seed in trouble.seeds]
        for development in (True, False):
            yield from [network for network in every if network.development == development][:_CANDIDATES]
