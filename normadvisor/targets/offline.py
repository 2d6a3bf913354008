"""No network while a model is built: pretrained weights are left out, every other connection is refused with a clear error."""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from normadvisor.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FunctionType

__all__ = ["NoWeights", "offline"]


class NoWeights(dict[str, Any]):
    """Stands for a state dict that was not downloaded; loading it into a module changes nothing."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url


def _weights_from_url(url: str, *_args: object, **_kwargs: object) -> object:
    # Runs with the globals of torch.hub, see `_exchange`: everything it needs is imported here.
    from normadvisor.targets.offline import NoWeights

    return NoWeights(url)


def _no_pretrained(*_args: object, **_kwargs: object) -> None:
    """Do nothing, in place of a loader that would fill a model with downloaded weights."""


_LOADERS: tuple[tuple[str, str, Any], ...] = (
    ("torch.hub", "load_state_dict_from_url", _weights_from_url),
    ("timm.models._builder", "load_pretrained", _no_pretrained),
)
"""Functions that fetch weights: module, name, and what they do instead. A model's structure does not depend on the weights."""


@contextmanager
def _exchange(function: FunctionType, replacement: FunctionType) -> Iterator[None]:
    """Let ``function`` do what ``replacement`` does, also for modules that imported it by name."""
    saved = function.__code__, function.__defaults__, function.__kwdefaults__
    function.__code__, function.__defaults__, function.__kwdefaults__ = replacement.__code__, None, None
    try:
        yield
    finally:
        function.__code__, function.__defaults__, function.__kwdefaults__ = saved


def _refuse(address: object) -> TargetError:
    message = f"the model's code opens a network connection ({address}) while it is imported or built"
    hint = "weights are not needed: build without them (pretrained=False, weights=None, or from a config instead of from_pretrained)"
    return TargetError(message, hint=hint)


@contextmanager
def offline() -> Iterator[list[str]]:
    """Refuse network connections and leave pretrained weights out.

    Yields:
        The list that addresses of left-out weights are appended to.

    """
    from contextlib import ExitStack

    import torch

    skipped: list[str] = []
    load_state_dict = torch.nn.Module.load_state_dict
    getaddrinfo, connect = socket.getaddrinfo, socket.socket.connect

    def load(self: torch.nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(state_dict, NoWeights):
            skipped.append(state_dict.url)
            return torch.nn.modules.module._IncompatibleKeys([], [])  # noqa: SLF001 -- what callers unpack
        return load_state_dict(self, state_dict, *args, **kwargs)

    def refuse_name(host: object, *_args: object, **_kwargs: object) -> Any:
        raise _refuse(host)

    def refuse_connect(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            raise _refuse(address)
        connect(self, address)

    with ExitStack() as stack:
        for module, name, replacement in _LOADERS:
            if function := getattr(sys.modules.get(module), name, None):
                stack.enter_context(_exchange(function, replacement))
        torch.nn.Module.load_state_dict = load  # type: ignore[method-assign]
        socket.getaddrinfo = refuse_name
        socket.socket.connect = refuse_connect  # type: ignore[assignment, method-assign]
        try:
            yield skipped
        finally:
            torch.nn.Module.load_state_dict = load_state_dict  # type: ignore[method-assign]
            socket.getaddrinfo = getaddrinfo
            socket.socket.connect = connect  # type: ignore[method-assign]
