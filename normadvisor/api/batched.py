"""Inputs of another batch size, and inputs in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from normadvisor.api.live import input_texts
from normadvisor.errors import UsageError

if TYPE_CHECKING:
    import torch

    from normadvisor.optimization.prepared import Given

__all__ = ["spec_of", "with_batch"]


def with_batch(args: tuple[Any, ...], kwargs: Mapping[str, Any], size: int | None, *, given: bool) -> Given:
    """Arguments of ``forward`` with another number of samples: those there are, over and over.

    Args:
        args: positional ones.
        kwargs: those by name.
        size: samples wanted; as many as there are when ``None``.
        given: whether the user gave them.

    Raises:
        UsageError: which axis holds the samples cannot be told, since the first sizes of the tensors differ.

    """
    import torch

    from normadvisor.graph.values import map_tensors, tensors_in
    from normadvisor.optimization.prepared import Given

    if size is not None:
        sizes = {tensor.shape[0] for tensor in tensors_in((args, dict(kwargs))) if tensor.dim()}
        if len(sizes) != 1:
            raise UsageError("--batch-size: the first sizes of the inputs differ", hint="say the inputs with --input")
        chosen = torch.arange(size) % sizes.pop()

        def taken(tensor: torch.Tensor) -> torch.Tensor:
            return tensor[chosen.to(tensor.device)] if tensor.dim() else tensor

        args, kwargs = map_tensors(args, taken), map_tensors(dict(kwargs), taken)
    return Given(args, dict(kwargs), given, spec_of(args, kwargs))


def spec_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Inputs as ``--input`` would say them; empty where one is no tensor."""
    if not all(hasattr(value, "shape") and hasattr(value, "dtype") for value in (*args, *kwargs.values())):
        return ""
    named = zip(kwargs, input_texts(tuple(kwargs.values())), strict=True)
    texts = (*input_texts(args), *(f"{name}={text}" for name, text in named))
    return " ".join(text.removesuffix(":float32") for text in texts)
