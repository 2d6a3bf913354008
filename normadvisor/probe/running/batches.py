"""Where batches come from: drawn values, or what the user's data gives."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import psutil
import torch
from torch import Tensor, nn

from normadvisor.errors import InputError, NormAdvisorError, ProbeError
from normadvisor.probe.running.draw import Drawing
from normadvisor.probe.running.failures import failure
from normadvisor.probe.running.samples import Batch, UnequalSamplesError, count_samples, gather
from normadvisor.probe.running.trees import map_tensors, moved, named_tensors, with_tensors

__all__ = ["DrawnBatches", "GivenBatches", "Source", "described", "split_batch"]

TARGET_NAMES = frozenset(
    ("label", "labels", "target", "targets", "y", "gt", "ground_truth", "label_ids", "start_positions", "end_positions")
)
"""Names of batch entries and arguments that say what the output should be."""
MAX_HELD = 2**30
"""Bytes of the user's batches that are held; those after them are not looked at."""
INPUT_KEYS = ("input", "inputs", "x", "image", "images", "data", "features", "pixel_values")
"""Names of a batch's entry that is the input of a model whose argument is called something else, the likeliest first."""


class Source(Protocol):
    """Gives batches by number; the same number gives the same batch."""

    @property
    def real(self) -> bool:
        """Whether they came from the user."""

    @property
    def count(self) -> int | None:
        """How many different ones there are; ``None`` for as many as wanted."""

    @property
    def notes(self) -> list[str]:
        """What the reader should know about them."""

    @property
    def size(self) -> int | None:
        """Samples of the first batch."""

    def batch(self, index: int) -> Batch:
        """Batch number ``index``, on the device."""

    def cut(self, size: int) -> None:
        """From now on batches have ``size`` samples."""

    def bound(self) -> int | None:
        """Draw ids below the smallest table of the model from now on, and say which size that is; ``None`` where nothing changes."""


@dataclass(slots=True)
class DrawnBatches:
    """Batches drawn for inputs that were inferred or described."""

    drawing: Drawing
    device: torch.device
    dtype: torch.dtype | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def real(self) -> bool:
        """Never."""
        return False

    @property
    def count(self) -> int | None:
        """As many as wanted."""
        return None

    @property
    def size(self) -> int | None:
        """Samples of each batch."""
        return self.drawing.size

    def batch(self, index: int) -> Batch:
        """Batch number ``index``.

        Raises:
            MemoryError: it would take more than an eighth of the memory that is free, and what is computed of it far more.

        """
        free = psutil.virtual_memory().available
        if self.drawing.bytes > free / 8:
            raise MemoryError(f"a batch of {self.drawing.size} samples takes {self.drawing.bytes >> 20} MiB, and {free >> 20} MiB are free")
        drawn = self.drawing.batch(index)
        return drawn.replaced(args=moved(drawn.args, self.device, self.dtype), kwargs=moved(drawn.kwargs, self.device, self.dtype))

    def cut(self, size: int) -> None:
        """From now on batches have ``size`` samples."""
        self.drawing.size = size

    def bound(self) -> int | None:
        """Draw ids below the smallest table of the model from now on, and say which size that is; ``None`` where nothing changes."""
        return self.drawing.bound()


class GivenBatches:
    """The user's batches, each read once and held on the CPU; after the last the first comes again.

    Args:
        batches: any iterable; a generator is read only as far as needed.
        model: whose ``forward`` says which parts of a batch are its arguments.
        wanted: batches that the probe has a use for; more are not read.
        device: where batches go.
        dtype: of their real numbers; ``None``: as they are.
        size: samples to cut batches to; ``None``: as they are.

    """

    def __init__(
        self, batches: Iterable[Any], model: nn.Module, *, wanted: int, device: torch.device, dtype: torch.dtype | None, size: int | None
    ) -> None:
        self.notes: list[str] = []
        self._model = model
        self._device = device
        self._dtype = dtype
        self._size = size
        if is_one_batch(batches):
            batches = [batches]
            self.notes.append("the tuple of tensors was read as one batch of input and target")
        self._held = [self._of_arrays(batch) for batch in _read(batches, model, wanted)]
        if not self._held:
            raise ProbeError("the data holds no batch", hint="give an iterable of batches, such as a DataLoader")
        self._cut_to = size
        first = self.batch(0).size
        if size is not None and first is not None and first < size:
            self.notes.append(f"batches of the data hold {first} samples: the batch size of {size} that was asked for is not reached")

    def _of_arrays(self, batch: Any) -> Any:
        """The batch with numpy's arrays as tensors, real numbers of 64 bits in torch's default dtype as weights are."""
        changed = with_tensors(batch)
        if changed is not batch:
            self.notes.append("numpy arrays of the data were made tensors")
        if any(tensor.is_inference() for _, tensor in named_tensors(changed)):  # no backward pass may keep those
            return map_tensors(changed, torch.clone)
        return changed

    @property
    def real(self) -> bool:
        """Always."""
        return True

    @property
    def count(self) -> int | None:
        """Batches that were read."""
        return len(self._held)

    @property
    def size(self) -> int | None:
        """Samples of the first batch."""
        return self.batch(0).size

    def batch(self, index: int) -> Batch:
        """Batch number ``index``, from the beginning again after the last."""
        number = index % len(self._held)
        value = moved(self._held[number], self._device, self._dtype)
        whole = split_batch(value, self._model).replaced(key=number)
        if self._cut_to is None or whole.size is None or whole.size <= self._cut_to:
            return whole
        try:
            return gather([whole], [(0, sample) for sample in range(self._cut_to)], key=number)
        except UnequalSamplesError:
            return whole

    def cut(self, size: int) -> None:
        """From now on batches have at most ``size`` samples."""
        self._cut_to = size

    def bound(self) -> int | None:
        """Nothing: the ids are the user's."""
        return None


def is_one_batch(batches: Any) -> bool:
    """Whether a tuple of tensors is one batch of input and target rather than several batches of inputs: their shapes or kinds differ."""
    if not isinstance(batches, tuple) or len(batches) < 2 or not all(isinstance(part, Tensor) and part.ndim for part in batches):
        return False
    return len({len(part) for part in batches}) == 1 and len({(part.shape[1:], part.dtype) for part in batches}) > 1


def _read(batches: Iterable[Any], model: nn.Module, wanted: int) -> Iterator[Any]:
    total = 0
    iterator: Iterator[Any] | None = None
    for number in range(max(1, wanted)):
        try:
            iterator = iter(batches) if iterator is None else iterator
            batch = next(iterator)
        except StopIteration:
            return
        except NormAdvisorError:
            raise
        except Exception as error:
            raise failure(model, f"batch {number + 1} of the data could not be read", error) from error
        yield batch
        total += sum(tensor.numel() * tensor.element_size() for _, tensor in named_tensors(batch))
        if total > MAX_HELD:
            return


def split_batch(value: Any, model: nn.Module) -> Batch:
    """What of a batch goes to the model, and what the loss compares its output with.

    A tensor is the input. Of a tuple or list, as many leading parts are arguments as ``forward`` requires; of those left, the last
    is the target and the others fill optional arguments, unless these are called like a target, which then goes to the model too. Of
    a dictionary (or a dataclass), entries go to arguments of their name; where none fits, the whole dictionary is the argument if
    ``forward`` takes one. Of ``((a, b), target)`` the inner parts are the arguments where ``forward`` requires as many.

    Raises:
        InputError: nothing in the batch can be given to ``forward``.

    """
    if isinstance(value, Mapping):
        return _split_mapping(value, dict(value), model)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _split_mapping(value, {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, model)
    if isinstance(value, tuple) and hasattr(value, "_fields") and not isinstance(value, torch.nn.utils.rnn.PackedSequence):
        names = set(value._fields) & set(_parameters(model))
        if names:
            return _split_mapping(value, dict(zip(value._fields, value, strict=True)), model)
    if isinstance(value, list | tuple) and not isinstance(value, torch.nn.utils.rnn.PackedSequence) and value:
        return _split_sequence(value, model)
    return Batch(args=(value,), whole=value, size=count_samples((value,)))


def _parameters(model: nn.Module) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        return {}


def _flattened(parts: tuple[Any, ...], model: nn.Module) -> tuple[Any, ...]:
    """The parts of ``((a, b), target)`` in a row where ``forward`` requires as many arguments as there are inputs, else as they are."""
    inner = parts[0]
    if not isinstance(inner, list | tuple) or isinstance(inner, torch.nn.utils.rnn.PackedSequence) or len(parts) > 2:
        return parts
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = sum(p.default is p.empty and p.kind in positional for p in _parameters(model).values())
    return (*inner, *parts[1:]) if 1 < required == len(inner) else parts


def _split_sequence(value: list[Any] | tuple[Any, ...], model: nn.Module) -> Batch:
    parts = _flattened(tuple(value), model)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [p for p in _parameters(model).values() if p.kind in kinds]
    required = sum(p.default is p.empty for p in parameters)
    if parameters and len(parts) < required:
        if required > 1 and len(parts) == 1:
            names = ", ".join(p.name for p in parameters[:required])
            message = f"a batch of one part cannot fill the {required} arguments of {type(model).__name__}.forward ({names})"
            raise InputError(message)
        if isinstance(value, list):
            return Batch(args=(value,), whole=value, size=len(value))
    taken = min(max(required, 1), len(parts))
    for parameter in parameters[taken:]:
        left = len(parts) - taken
        named_target = parameter.name.lower() in TARGET_NAMES
        # A flag is no place for a tensor, and the last part is the target, unless the argument asks for a target.
        if left == 0 or isinstance(parameter.default, bool | int | float | str) or (left == 1 and not named_target):
            break
        taken += 1
    if any(p.kind is p.VAR_POSITIONAL for p in _parameters(model).values()) and not parameters:
        taken = max(1, len(parts) - 1)
    args, rest = parts[:taken], parts[taken:]
    target = rest[-1] if len(rest) == 1 else rest or None
    return Batch(args=args, target=target, whole=value, size=count_samples(args, _first_tensor(target)))


def _first_tensor(value: Any) -> Any:
    return next((tensor for _, tensor in named_tensors(value)), None)


def _split_mapping(whole: Any, entries: dict[Any, Any], model: nn.Module) -> Batch:
    parameters = _parameters(model)
    keyword = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {name: p for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    kwargs = {name: item for name, item in entries.items() if name in named}
    targets = {name: item for name, item in entries.items() if str(name).lower() in TARGET_NAMES and name not in kwargs}
    required = [name for name, p in named.items() if p.default is p.empty]
    if keyword and not kwargs:
        kwargs = {name: item for name, item in entries.items() if name not in targets and isinstance(name, str)}
    target = next(iter(targets.values()), None) if len(targets) < 2 else targets
    labelled = next((item for name, item in kwargs.items() if name.lower() in TARGET_NAMES), None)
    missing = [name for name in required if name not in kwargs]
    args: tuple[Any, ...] = ()
    if missing and not kwargs:
        key = next((name for name in INPUT_KEYS if name in entries), None)
        takes_whole = len(required) == 1 and (key is None or required[0].lower() in ("batch", "batch_dict", "data", "sample", "samples"))
        if takes_whole:
            args = (whole,)
        elif len(required) == 1:
            args = (entries[key],)
    if not args and missing:
        message = f"the batch holds {', '.join(map(str, entries))}; {type(model).__name__}.forward needs {', '.join(missing)}"
        raise InputError(message, hint="give batches whose keys are names of arguments of forward")
    size = count_samples((*args, *kwargs.values()), _first_tensor(target if target is not None else labelled))
    return Batch(args=args, kwargs=kwargs, target=target, whole=whole, size=size)


def described(batch: Batch) -> str:
    """What a forward pass is given, as ``--input`` would say it."""
    texts = [_text(value) for value in batch.args] + [f"{name}={_text(value)}" for name, value in batch.kwargs.items()]
    return " ".join(itertools.islice((text for text in texts if text), 12))


def _text(value: Any) -> str:
    tensors = list(named_tensors(value))
    if isinstance(value, Tensor):
        shape = "x".join(map(str, value.shape)) or "scalar"
        kind = str(value.dtype).removeprefix("torch.")
        return shape if kind == "float32" and value.ndim else f"{shape}:{kind}"
    if not tensors:
        return "" if value is None else repr(value)[:40]
    inner = ", ".join(_text(tensor) for _, tensor in tensors[:4])
    return f"[{inner}{', ...' if len(tensors) > 4 else ''}]"
