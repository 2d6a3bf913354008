"""Whole training steps: as they are, with fused operations, and compiled."""

from __future__ import annotations

import copy
import gc
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.fused.gpu.clock import Clock
from benchmarks.fused.gpu.networks import GPT, ResNet, UNet
from normadvisor.graph import trace
from normadvisor.optimization.candidate import Candidate, Setting
from normadvisor.optimization.fusing.finders import find_fused
from normadvisor.optimization.measuring.running import kernel_runs
from normadvisor.rewrite.model.journal import Journal

__all__ = ["COMPILED", "FUSED", "NETWORKS", "SMALL_NETWORKS", "Network", "call_fused", "fuse", "measure_steps"]

FUSED, COMPILED = "fused", "torch.compile"

_GAIN = 1.03
"""Ratio from which on a place is fused, as ``normadvisor optimize`` decides."""
_STEPS = 5
"""Per timing."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network and what it is trained on."""

    build: Callable[[torch.device], nn.Module]
    inputs: Callable[[torch.device], tuple[torch.Tensor, ...]]
    target: Callable[[torch.device], torch.Tensor]
    words: str
    images: bool = True
    """Whether it runs in ``channels_last``."""


@dataclass(frozen=True, slots=True)
class _Arguments:
    """Arguments of ``forward``."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    given: bool = True


def _resnet50(device: torch.device) -> nn.Module:
    try:
        from torchvision.models import resnet50  # noqa: PLC0415 - only where it is installed
    except ImportError:
        return ResNet().to(device)
    model: nn.Module = resnet50().to(device)
    return model


def _gpt2(device: torch.device) -> nn.Module:
    try:
        from transformers import GPT2Config, GPT2LMHeadModel  # noqa: PLC0415 - only where it is installed
    except ImportError:
        return GPT().to(device)
    model: nn.Module = GPT2LMHeadModel(GPT2Config(use_cache=False, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)).to(device)
    return model


def _images(batch: int, side: int) -> Callable[[torch.device], tuple[torch.Tensor, ...]]:
    return lambda device: (torch.randn(batch, 3, side, side, device=device),)


def _latents(batch: int, side: int) -> Callable[[torch.device], tuple[torch.Tensor, ...]]:
    return lambda device: (torch.randn(batch, 4, side, side, device=device), torch.randint(0, 1000, (batch,), device=device))


def _numbers(high: int, *shape: int) -> Callable[[torch.device], torch.Tensor]:
    return lambda device: torch.randint(0, high, shape, device=device)


def _words(batch: int, length: int, words: int) -> Callable[[torch.device], tuple[torch.Tensor, ...]]:
    return lambda device: (_numbers(words, batch, length)(device),)


def _noise(*shape: int) -> Callable[[torch.device], torch.Tensor]:
    return lambda device: torch.randn(shape, device=device)


NETWORKS: dict[str, Network] = {
    "ResNet-50": Network(_resnet50, _images(128, 224), _numbers(1000, 128), "128 images of 224 x 224"),
    "diffusion U-Net": Network(
        lambda device: UNet().to(device), _latents(16, 64), _noise(16, 4, 64, 64), "16 latents of 64 x 64, widths 320, 640, 1280"
    ),
    "GPT-2": Network(_gpt2, _words(8, 1024, 50257), _numbers(50257, 8, 1024), "8 texts of 1024 words", images=False),
}
SMALL_NETWORKS: dict[str, Network] = {
    "ResNet-50": Network(lambda device: ResNet((1, 1), 8, 5).to(device), _images(2, 32), _numbers(5, 2), "tiny"),
    "diffusion U-Net": Network(lambda device: UNet(32, (1, 2), 1, 4, 2).to(device), _latents(2, 8), _noise(2, 4, 8, 8), "tiny"),
    "GPT-2": Network(lambda device: GPT(32, 2, 2, 50, 8).to(device), _words(2, 8, 50), _numbers(50, 2, 8), "tiny", images=False),
}
"""For trying the program out."""


def _loss(output: Any, target: torch.Tensor) -> torch.Tensor:
    scores: torch.Tensor = output if isinstance(output, torch.Tensor) else output.logits
    if target.is_floating_point():
        return F.mse_loss(scores.float(), target)
    return F.cross_entropy(scores.float().flatten(0, -2), target.flatten())


class _Step:
    """One training step under autocast in bfloat16."""

    def __init__(self, model: nn.Module, call: nn.Module, inputs: tuple[torch.Tensor, ...], target: torch.Tensor) -> None:
        self.model, self._call, self._inputs, self._target = model, call, inputs, target
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def loss(self) -> torch.Tensor:
        """Of the batch."""
        with torch.autocast(self._inputs[0].device.type, torch.bfloat16):
            return _loss(self._call(*self._inputs), self._target)

    def held(self) -> int:
        """Bytes that are there between steps: parameters, their gradients, and what the optimizer keeps of them."""
        state, device = self._optimizer.state, self._inputs[0].device
        kept = [tensor for held in self.model.parameters() for tensor in (held, held.grad, *state[held].values())]
        return sum(tensor.numel() * tensor.element_size() for tensor in kept if tensor is not None and tensor.device == device)

    def __call__(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self.loss().backward()
        self._optimizer.step()


def fuse(model: nn.Module, inputs: tuple[torch.Tensor, ...], clock: Clock, *, force: bool = False) -> dict[str, dict[str, int]]:
    """Fuse all places of a model that are faster fused, in place.

    Args:
        model: in train mode.
        inputs: of its forward; floating ones in the dtype that most of it computes in.
        clock: of its device.
        force: whether to fuse on a CPU, and whatever is not faster.

    Returns:
        For each kind of place how many are ``fused`` and how many are ``left`` because they are not faster.

    """
    counts: dict[str, Counter[str]] = {}
    gains: dict[tuple[str, str], bool] = {}
    found = _places(model, inputs, clock.device, force=force)
    with torch.autocast(clock.device.type, torch.bfloat16):
        for item in found:
            key = (item.group, item.shape_key)
            if key not in gains:
                gains[key] = force or _gains(item, clock)
    for item in found:
        kept = gains[item.group, item.shape_key]
        counts.setdefault(item.pattern, Counter())["fused" if kept else "left"] += 1
        if kept:
            item.apply(model, Journal())
    return {pattern: dict(count) for pattern, count in counts.items()}


def _places(model: nn.Module, inputs: tuple[torch.Tensor, ...], device: torch.device, *, force: bool = False) -> list[Candidate]:
    given = _Arguments(inputs)
    graph = trace(model, given, target="model", sites={}, mode="train")
    setting = Setting(mode="training", device=device, dtype=torch.bfloat16, inputs=given, force=force)
    with torch.autocast(device.type, torch.bfloat16):
        return [item for item in find_fused(model, graph, setting) if isinstance(item, Candidate)]


def call_fused(network: Network, device: torch.device) -> None:
    """Call the fused operation of every place of a network once, forward and backward, so that its kernels are compiled."""
    model, inputs = _built(network, device)
    alike = {(item.group, item.shape_key): item for item in _places(model, inputs, device)}
    with torch.autocast(device.type, torch.bfloat16):
        for item in alike.values():
            if item.kernel is not None:
                kernel_runs(item.kernel(), "training")[1]()


def _gains(item: Candidate, clock: Clock) -> bool:
    if item.kernel is None:
        return False
    runs = kernel_runs(item.kernel(), "training")
    for run in runs:
        clock.seconds(run, 3)
    before, after = (median(times) for times in clock.rounds(runs, 4))
    return before / after >= _GAIN


def _peak(step: _Step, device: torch.device) -> float | None:
    """Bytes at the peak of one step."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return float(torch.cuda.max_memory_allocated(device))


def measure_steps(network: Network, clock: Clock, way: str, *, rounds: int = 7, force: bool = False) -> dict[str, Any]:
    """Training steps of one network, eager and in one other way.

    Args:
        network: what is trained.
        clock: of the device.
        way: :data:`FUSED` or :data:`COMPILED`.
        rounds: in which both take turns.
        force: see :func:`fuse`.

    Returns:
        ``words`` of the network, ``places`` as :func:`fuse` gives them, ``cold`` (seconds until the first loss is there), and by way
        ``losses`` of the first step, ``seconds`` of a step (one number a round) and ``memory`` (bytes at the peak of a step).

    """
    device = clock.device
    model, inputs = _built(network, device)
    target = network.target(device)
    own = copy.deepcopy(model)
    found: dict[str, Any] = {"words": network.words, "places": {}, "losses": {}, "seconds": {"eager": [], way: []}, "memory": {}}
    started = time.perf_counter()
    if way == FUSED:
        found["places"] = fuse(own, inputs, clock, force=force)
    call: Any = torch.compile(own) if way == COMPILED else own
    steps = {way: _Step(own, call, inputs, target), "eager": _Step(model, model, inputs, target)}
    for name, step in steps.items():
        found["losses"][name] = float(step.loss().detach())
        if name == way:
            found["cold"] = time.perf_counter() - started
        step()
    held = {name: step.held() for name, step in steps.items()}
    for name, step in steps.items():
        peak = _peak(step, device)
        found["memory"][name] = None if peak is None else peak - sum(size for other, size in held.items() if other != name)
    for index in range(rounds):
        for name, step in list(steps.items())[:: -1 if index % 2 else 1]:
            found["seconds"][name].append(_timed(step, device))
    del steps
    gc.collect()
    return found


def _built(network: Network, device: torch.device) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The network and its inputs, the same ones each time."""
    torch.manual_seed(0)
    model, inputs = network.build(device).train(), network.inputs(device)
    if network.images:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = tuple(_channels_last(tensor) for tensor in inputs)
    return model, inputs


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _timed(step: _Step, device: torch.device) -> float:
    """Seconds of a step on the wall, what the processor does included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(_STEPS):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / _STEPS
