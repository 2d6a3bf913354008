"""Writes an optimized model into a file, in one step."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from normadvisor.errors import UsageError
from normadvisor.optimization.saving.plan import Plan
from normadvisor.rewrite.proof.words import told

if TYPE_CHECKING:
    from normadvisor.optimization.run import Optimized

__all__ = ["EXTRA", "METADATA", "SUFFIXES", "save", "unshared"]

METADATA = "normadvisor"
"""Key of the plan in a file's metadata."""
EXTRA = "normadvisor.json"
"""File of the plan within an exported program."""


def save(result: Optimized, path: Path) -> None:
    """Write the weights of an optimized model with the plan of what was done, or export it as a program.

    ``.safetensors`` holds weights alone, ``.pt`` as ``torch.save`` writes them, ``.pt2`` a program for the shapes that the model was
    optimized with, which needs neither its code nor this package.

    Args:
        result: the model.
        path: the file; its suffix says the format. It is whole or not there.

    Raises:
        UsageError: the suffix is none of these, the model cannot be exported, or the file cannot be written.

    """
    write = _WRITERS.get(path.suffix)
    if write is None:
        raise UsageError(f"an optimized model cannot be saved as {path.name}", hint=f"one of {', '.join(SUFFIXES)}")
    try:
        with _beside(path) as place:
            write(result, place)
            place.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new file in the same folder, removed on the way out if it is still there."""
    descriptor, name = tempfile.mkstemp(prefix=".normadvisor-", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    place = Path(name)
    umask = os.umask(0)
    os.umask(umask)
    place.chmod(0o666 & ~umask)
    try:
        yield place
    finally:
        with suppress(OSError):
            place.unlink(missing_ok=True)


def unshared(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors in the order of their axes, each once; and from keys of tied ones to the key that stands for them."""
    first: dict[tuple[object, ...], str] = {}
    kept: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    for key, tensor in state.items():
        same = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, str(tensor.device))
        if tensor.numel() and same in first:
            aliases[key] = first[same]
            continue
        first[same] = key
        kept[key] = tensor.detach().contiguous().clone() if _overlaps(tensor, kept) else tensor.detach().contiguous()
    return kept, aliases


def _overlaps(tensor: torch.Tensor, others: dict[str, torch.Tensor]) -> bool:
    """Whether the memory of a tensor is that of another one, too, of which it is another view."""
    own = tensor.untyped_storage().data_ptr()
    return any(own == other.untyped_storage().data_ptr() for other in others.values())


def _safetensors(result: Optimized, place: Path) -> None:
    try:
        from safetensors.torch import save_file  # noqa: PLC0415 -- only who saves so needs it
    except ImportError as error:
        raise UsageError("safetensors is not installed", hint="pip install safetensors, or save as .pt") from error
    state, aliases = unshared(result.model.state_dict())
    save_file(state, place, metadata={"format": "pt", METADATA: Plan.of(result, aliases).text()})


def _torch(result: Optimized, place: Path) -> None:
    torch.save({METADATA: Plan.of(result, {}).text(), "state_dict": result.model.state_dict()}, place)


def _program(result: Optimized, place: Path) -> None:
    if result.optimization.mode != "inference":
        raise UsageError("a model for training is not exported as a program", hint="save its weights: .safetensors or .pt")
    inputs = result.inputs
    try:
        with torch.no_grad():
            program = torch.export.export(result.model, tuple(inputs.args), dict(inputs.kwargs), strict=False)
        with warnings.catch_warnings():
            # Weights that are not contiguous make torch 2.15 warn that they might lie on a GPU; they are whole when read back.
            warnings.filterwarnings("ignore", "No complete tensor found in the group")
            torch.export.save(program, place, extra_files={EXTRA: Plan.of(result, {}).text()})
    except OSError:
        raise
    except Exception as error:
        message = f"torch.export cannot export {result.optimization.target}: {told(error)}"
        raise UsageError(message, hint="save its weights: .safetensors or .pt") from error


_WRITERS: dict[str, Callable[[Optimized, Path], None]] = {".safetensors": _safetensors, ".pt": _torch, ".pt2": _program}
SUFFIXES = tuple(_WRITERS)
"""Formats of files."""
