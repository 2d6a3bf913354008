"""Networks made to show one thing, and what a probe measures of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterator

    from normadvisor.types import Measurements

WIDTH, INPUTS, CLASSES = 64, 20, 10


class Residual(nn.Module):
    """A sum of the input and a branch."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x)


INITIALISATIONS: dict[str, Callable[[nn.Linear], object]] = {
    "default": lambda layer: layer,
    "he": lambda layer: (nn.init.kaiming_normal_(layer.weight, nonlinearity="relu"), nn.init.zeros_(layer.bias)),
    "xavier": lambda layer: (nn.init.xavier_normal_(layer.weight), nn.init.zeros_(layer.bias)),
    "xavier 5/3": lambda layer: (nn.init.xavier_normal_(layer.weight, gain=5 / 3), nn.init.zeros_(layer.bias)),
    "lecun": lambda layer: (nn.init.kaiming_normal_(layer.weight, nonlinearity="linear"), nn.init.zeros_(layer.bias)),
    "one": lambda layer: nn.init.normal_(layer.weight),
    "hundredth": lambda layer: (nn.init.normal_(layer.weight, std=0.01), nn.init.zeros_(layer.bias)),
}
NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def stack(depth: int, activation: Callable[[], nn.Module] = nn.ReLU, start: str = "default", norm: str = "", *, residual: bool = False) -> nn.Sequential:
    """Linear layers of width 64 with an activation each, on 20 inputs, and a head for 10 classes; always the same numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts: list[nn.Module] = []
        for index in range(depth):
            block = [nn.Linear(INPUTS if index == 0 else WIDTH, WIDTH), *([NORMS[norm](WIDTH)] if norm else []), activation()]
            parts += [Residual(nn.Sequential(*block))] if residual and index else block
        net = nn.Sequential(*parts, nn.Linear(WIDTH, CLASSES))
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                INITIALISATIONS[start](layer)
    return net


def task(steps: int, batch: int = 32, classes: int = CLASSES, seed: int = 1) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches whose classes follow from the inputs."""
    generator = torch.Generator().manual_seed(seed)
    teacher = torch.randn(INPUTS, classes, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        inputs = torch.randn(batch, INPUTS, generator=generator)
        yield inputs, (inputs.tanh() @ teacher).argmax(dim=1)


def measure(
    model: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]] | None = None,
    *,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.cross_entropy,
    classes: int | None = CLASSES,
) -> Measurements:
    """Five steps of AdamW at 1e-4, as a probe chooses them, recorded; without the other phases of a probe."""
    from normadvisor.probe.recording.recorder import Recorder
    from normadvisor.types import Measurements

    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    losses: list[float] = []
    with Recorder(model) as recorder:
        for inputs, targets in batches or task(5):
            recorder.begin_step()
            value = loss(model(inputs), targets)
            optimizer.zero_grad()
            value.backward()
            recorder.after_backward()
            optimizer.step()
            recorder.end_step()
            losses.append(value.item())
    facts: dict[str, Any] = {"initial_loss": losses[0], "real_data": True}
    if classes is not None:
        facts |= {"classes": classes, "expected_initial_loss": float(torch.tensor(classes).log())}
    return Measurements(target="net", layers=recorder.layers(), series={"loss": tuple(losses), **recorder.series()}, facts=facts)


def warned(measurements: Measurements, only: Sequence[str] = ()) -> list[str]:
    """Rules on measurements that warn."""
    from normadvisor.match.measured import measured_findings
    from normadvisor.rulebook import load_rules
    from normadvisor.types import RunContext, Severity

    rules = [rule for rule in load_rules() if rule.scope == "probe" and (not only or rule.id in only)]
    found = measured_findings(measurements, rules, RunContext(), Path("/"))
    return sorted({finding.rule for finding in found if finding.severity is not Severity.INFO})


def run(measurements: Measurements) -> dict[str, Any]:
    """What ``probe`` knows in expressions."""
    from normadvisor.match.measured.views import views_of

    return views_of(measurements)[1]


def trained(model: nn.Module, *, adam: bool = True) -> float:
    """Mean loss of the last 20 of 250 steps of training on :func:`task` with four classes; guessing has 1.39."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3) if adam else torch.optim.SGD(model.parameters(), 1e-2, momentum=0.9)
    losses = []
    for inputs, targets in task(250, batch=64, classes=4):
        loss = F.cross_entropy(model(inputs)[:, :4], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-20:]) / 20


@pytest.fixture
def nets() -> Iterator[SimpleNamespace]:
    """The functions above, on one thread: small networks are faster so, and give the same numbers everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield SimpleNamespace(stack=stack, task=task, measure=measure, warned=warned, run=run, trained=trained, Residual=Residual)
    torch.set_num_threads(before)
