"""One forward and backward pass of a model, and everything that can be seen of it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from normadvisor.graph.light import StandIn, without_compiler
from normadvisor.graph.values import map_tensors, swapped, tensors_in
from normadvisor.rewrite.proof.double import all_double
from normadvisor.rewrite.proof.state import hidden, parameters, state

__all__ = ["MODES", "Observed", "Subject", "Way", "as_plain_cpu"]

MODES = {"train": "in train mode", "eval": "in eval mode", "as it is": "with each layer in the mode it was in"}
"""What a proof calls the modes, and how a sentence does."""

_STEP = 1e-12
"""Relative size of the disturbance that shows how much a model amplifies: some thousand times the rounding of double precision."""
_ROUNDING = 1e-14
"""That of what every layer gives: some fifty times the rounding, which arises there as well. A bias in front of a norm is large beside
what varies, and where most of a map is cut to zero nothing of a disturbed input is left."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a pass is run."""

    mode: str
    """A key of :data:`MODES`."""
    seed: int
    """Of everything random in the pass."""
    backward: bool = True
    in_place: bool = True
    """Whether what is said to happen in place does; else results are new tensors."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What one pass gave, in the model's own names."""

    outputs: list[torch.Tensor]
    input_gradients: list[torch.Tensor]
    gradients: dict[str, torch.Tensor | None]
    after: dict[str, torch.Tensor]
    """Parameters and buffers once the pass is over; buffers are copies."""
    differentiable: bool
    """Whether any output depends on a tensor that takes gradients."""


class Subject:
    """A model in double precision, run over and over from the same state."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._flags = {module: module.training for module in model.modules()}
        self._kept: dict[str, torch.Tensor] = {}
        for parameter in model.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.requires_grad_()
        self.keep()

    def keep(self) -> None:
        """Take the present values of buffers for those every pass starts from."""
        self._kept = {key: value.clone() for key, value in self._running().items()}

    def _running(self) -> dict[str, torch.Tensor]:
        weights = parameters(self.model)
        return {key: value for key, value in {**state(self.model), **hidden(self.model)}.items() if key not in weights}

    def _versions(self) -> dict[str, int]:
        """How often each parameter has been written to."""
        return {key: value._version for key, value in parameters(self.model).items()}  # noqa: SLF001 -- torch has no public name for it

    @property
    def is_mixed(self) -> bool:
        """Whether some layers were in train mode and some in eval mode."""
        return len(set(self._flags.values())) > 1

    def _set_mode(self, mode: str) -> None:
        if mode == "as it is":
            for module, flag in self._flags.items():
                module.training = flag
        else:
            self.model.train(mode == "train")

    @contextmanager
    def _ready(self, way: Way) -> Iterator[None]:
        """The model in a mode, random states set; everything as it was afterwards."""
        with ExitStack() as stack:
            stack.callback(self._restore)
            stack.enter_context(swapped(self.model, None))
            stack.enter_context(as_plain_cpu(in_place=way.in_place))
            torch.default_generator.manual_seed(way.seed)  # that of the CPU alone
            random.seed(way.seed)
            if "numpy" in sys.modules:
                sys.modules["numpy"].random.seed(way.seed)
            self._set_mode(way.mode)
            if not way.in_place:
                for module in self.model.modules():
                    if getattr(module, "inplace", False) is True:
                        vars(module)["inplace"] = False
            yield

    def _restore(self) -> None:
        with torch.no_grad():
            for key, value in self._running().items():
                value.copy_(self._kept[key])
        for parameter in self.model.parameters():
            parameter.grad = None

    def try_out(self, mode: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Run ``forward`` once without gradients.

        Returns:
            Whether all floating outputs are finite.

        Raises:
            Exception: whatever ``forward`` raises.

        """
        with self._ready(Way(mode, 0)), torch.no_grad():
            args, kwargs = (map_tensors(value, torch.clone) for value in (args, kwargs))
            result = self.model(*args, **kwargs)
            return all(bool(tensor.isfinite().all()) for tensor in tensors_in(result) if tensor.is_floating_point())

    def observe(self, way: Way, args: tuple[Any, ...], kwargs: dict[str, Any], *, disturbed: bool = False) -> Observed:
        """Run forward and backward; the loss is the sum of all outputs, each entry with a random factor of its own.

        Args:
            way: how.
            args: positional arguments; left as they are.
            kwargs: those by name.
            disturbed: change every floating input, and what embeddings give, by some 1e-12 of itself, and what other layers give by
                some 1e-14.

        Raises:
            Exception: whatever ``forward`` or ``backward`` raises.

        """
        leaves: list[torch.Tensor] = []

        def leaf(tensor: torch.Tensor) -> torch.Tensor:
            # Copied once more behind the leaf: a model may begin with an operation in place, which a leaf does not allow.
            if not (tensor.is_floating_point() or tensor.is_complex()):
                return tensor.clone()
            leaves.append((_disturb(tensor, way.seed, _STEP) if disturbed else tensor).clone().requires_grad_())
            return leaves[-1].clone()

        with self._ready(way), _disturbed_layers(self.model, way.seed) if disturbed else nullcontext():
            args, kwargs = map_tensors(args, leaf), map_tensors(kwargs, leaf)
            versions = self._versions()
            outputs = list(tensors_in(self.model(*args, **kwargs)))
            if written := [key for key, version in self._versions().items() if version != versions.get(key)]:
                message = f"forward writes into the parameter {written[0]}"
                raise RuntimeError(message)
            loss = _loss(outputs, way.seed)
            if loss is not None and way.backward:
                loss.backward()  # type: ignore[no-untyped-call]
            weights = parameters(self.model)
            after = {key: value if key in weights else value.clone() for key, value in state(self.model).items()}
            return Observed(
                [tensor.detach().clone() for tensor in outputs],
                [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in leaves],
                {key: value.grad for key, value in weights.items()},
                after,
                loss is not None,
            )


def _loss(outputs: list[torch.Tensor], seed: int) -> torch.Tensor | None:
    generator = torch.Generator().manual_seed(seed + 1)
    terms = []
    for output in outputs:
        if output.requires_grad:
            real = torch.view_as_real(output) if output.is_complex() else output
            terms.append((real * torch.randn(real.shape, generator=generator, dtype=real.dtype)).sum())
    return sum(terms[1:], terms[0]) if terms else None


def _disturb(tensor: torch.Tensor, seed: int, size: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + 2)
    return tensor * (1 + size * torch.randn(tensor.shape, generator=generator, dtype=torch.float64))


@contextmanager
def _disturbed_layers(model: nn.Module, seed: int) -> Iterator[None]:
    """What layers without further layers give is disturbed: that of embeddings like inputs, which cannot be where they are indices."""

    def hook(module: nn.Module, _args: Any, output: Any) -> Any:
        size = _STEP if isinstance(module, nn.Embedding | nn.EmbeddingBag) else _ROUNDING
        return map_tensors(output, lambda tensor: _disturb(tensor, seed, size) if tensor.is_floating_point() else tensor)

    handles = [module.register_forward_hook(hook) for module in model.modules() if next(module.children(), None) is None]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def as_plain_cpu(*, in_place: bool = True) -> Iterator[None]:
    """Code runs as it is written, in double precision on the CPU; random states and fast paths are put back afterwards."""
    torch_state, plain = torch.get_rng_state(), random.getstate()
    numpy_state = sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.set_rng_state, torch_state)
        stack.callback(random.setstate, plain)
        if numpy_state is not None:
            stack.callback(sys.modules["numpy"].random.set_state, numpy_state)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(without_compiler())
        if _is_compiler_there():
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(all_double(in_place=in_place))
        yield


def _is_compiler_there() -> bool:
    compiler = sys.modules.get("torch._dynamo")
    return compiler is not None and not isinstance(compiler, StandIn) and hasattr(torch.compiler, "set_stance")
