"""The models of the folding sweep: built, given an input as small as they take, with numbers in their norms that hide nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from benchmarks.zoo.names import Entry

__all__ = ["arguments_of", "built", "first_of_files", "in_turn", "inputs_of", "randomised", "traced"]

_SMALL_WORDS = ("atto", "femto", "pico", "nano", "tiny", "small", "mini", "_xxs", "_xs", "18", "26", "b0", "_s0", "_050", "_a0", "_t")
_LARGE_WORDS = (
    "large",
    "huge",
    "giant",
    "gigantic",
    "xlarge",
    "xxl",
    "_l",
    "384",
    "448",
    "512",
    "101",
    "152",
    "200",
    "269",
    "b6",
    "b7",
    "b8",
)
_SIDES = (64, 96, 128, 160, 192, 224, 256, 299, 320, 384)


def in_turn(chosen: Sequence[Entry]) -> list[Entry]:
    """One model of each file of source code after another, small ones first, so that a sweep that is cut short has seen every kind."""
    return [entry for round_ in zip_longest(*_queues(chosen)) for entry in round_ if entry is not None]


def first_of_files(chosen: Sequence[Entry]) -> list[Entry]:
    """The first model of each file of source code, by the same order."""
    return [queue[0] for queue in _queues(chosen)]


def _queues(chosen: Sequence[Entry]) -> list[list[Entry]]:
    by_file: dict[str, list[Entry]] = defaultdict(list)
    for entry in chosen:
        by_file[_file(entry)].append(entry)
    return [sorted(held, key=lambda entry: (_size(entry.name), entry.name)) for held in by_file.values()]


def _file(entry: Entry) -> str:
    if entry.family == "timm":
        from timm.models import model_entrypoint  # noqa: PLC0415

        return str(model_entrypoint(entry.name).__module__)
    from torchvision.models import get_model_builder  # noqa: PLC0415

    return str(get_model_builder(entry.name).__module__)


def _size(name: str) -> int:
    """A guess by the name: 0 is small, 2 is large."""
    if any(word in name for word in _LARGE_WORDS):
        return 2
    return 0 if any(word in name for word in _SMALL_WORDS) else 1


def built(entry: Entry, device: str) -> Any:
    """The model in eval mode with random weights; detectors for small images."""
    import timm  # noqa: PLC0415
    import torch  # noqa: PLC0415
    import torchvision  # noqa: PLC0415

    with torch.device(device):
        if entry.family == "timm":
            return timm.create_model(entry.name).eval()
        try:
            smaller = {"min_size": 160, "max_size": 192} if entry.name.endswith(("_resnet50_fpn", "_resnet50_fpn_v2")) else {}
            return torchvision.models.get_model(entry.name, weights=None, weights_backbone=None, **smaller).eval()
        except TypeError:  # It has no backbone.
            return torchvision.models.get_model(entry.name, weights=None).eval()


def inputs_of(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """One normally distributed tensor, the same every time."""
    import torch  # noqa: PLC0415

    from normadvisor.targets.inputs import Inputs  # noqa: PLC0415

    generator = torch.Generator().manual_seed(0)
    return Inputs(args=(torch.randn(shape, generator=generator).to(dtype or torch.float32),), given=True)


def traced(model: Any, entry: Entry) -> tuple[tuple[int, ...], Any]:
    """The smallest input that the model takes, and the graph of a run on it."""
    from normadvisor.errors import NormAdvisorError  # noqa: PLC0415
    from normadvisor.graph import trace  # noqa: PLC0415

    given = getattr(model, "default_cfg", {}).get("input_size", (3, 224, 224))
    sides = [side for side in _SIDES if side < given[-1]]
    shapes = [(2, given[0], side, side) for side in sides] + [(2, *given)]
    if entry.family == "torchvision" and ("r3d" in entry.name or "mc3" in entry.name or "r2plus" in entry.name):
        shapes = [(2, 3, 8, 64, 64)]
    elif entry.family == "torchvision" and ("mvit" in entry.name or "swin3d" in entry.name or "s3d" in entry.name):
        shapes = [(2, 3, 16, 224, 224)]
    if entry.name.startswith("raft"):
        shapes = [(2, 3, 128, 128)]
    last: Exception | None = None
    for shape in shapes:
        inputs = inputs_of(shape)
        inputs.args = arguments_of(entry, shape)
        try:
            return shape, trace(model, inputs, target=entry.name, sites={}, mode="eval")
        except NormAdvisorError as error:
            last = error
    raise last or RuntimeError("no input")


def arguments_of(entry: Entry, shape: tuple[int, ...], dtype: Any = None) -> tuple[Any, ...]:
    """What the model is called with: a batch, two of them, or a list of images."""
    x = inputs_of(shape, dtype).args[0]
    if entry.name.startswith("raft"):
        return (x, x.flip(0))
    if (
        entry.name.endswith(("_fpn", "_fpn_v2", "_320_fpn", "ssd300_vgg16", "ssdlite320_mobilenet_v3_large"))
        and entry.family == "torchvision"
    ):
        return ([x[0], x[1]],)
    return (x,)


def randomised(model: Any, arguments: tuple[Any, ...], how: str = "mild", seed: int = 0) -> None:
    """Random statistics, scales and shifts in every norm.

    *Mild*: such that nothing blows up in a deep model. The running mean is within a third of a standard deviation, the variance between 0.5
    and 1.5 times the mean square of the values, or within 0.5 and 1.5 where that is less. Scales are between 0.25 and 0.75, as trained ones
    mostly are, three in ten of them negative, and shifts between -0.3 and 0.3.

    *Harsh*: the mean and variance of the values themselves, however small, scales between 0.5 and 1.5, half of them negative, and shifts
    between -0.5 and 0.5.
    """
    import torch  # noqa: PLC0415
    import torch.nn.functional as F  # noqa: PLC0415
    from torch.overrides import TorchFunctionMode  # noqa: PLC0415

    generator = torch.Generator().manual_seed(seed)

    def draw(like: Any) -> Any:
        return torch.rand(like.shape, generator=generator)

    negative, scales, shifts = (0.3, (0.25, 0.5), 0.3) if how == "mild" else (0.5, (0.5, 1.0), 0.5)

    def factors(like: Any) -> Any:
        return (draw(like) * scales[1] + scales[0]) * torch.where(draw(like) < negative, -1.0, 1.0)

    class Draw(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = dict(zip(("x", "running_mean", "running_var", "weight", "bias"), args, strict=False)) | (kwargs or {})
            if func is F.batch_norm and named.get("running_var") is not None:
                self.fill(**{key: named.get(key) for key in ("running_mean", "running_var", "weight", "bias")}, x=args[0])
            return func(*args, **(kwargs or {}))

        def fill(self, x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any) -> None:
            rows = x.detach().movedim(1, 0).flatten(1)
            wide = rows.square().mean(1).clamp_min(1.0)
            running_mean.copy_((draw(wide) * 0.6 - 0.3) * wide.sqrt() if how == "mild" else rows.mean(1))
            running_var.copy_(wide * (draw(wide) + 0.5) if how == "mild" else rows.var(1, correction=0))
            if isinstance(weight, torch.Tensor):
                weight.copy_(factors(wide))
            if isinstance(bias, torch.Tensor):
                bias.copy_((draw(wide) * 2 - 1) * shifts)

    with torch.no_grad(), Draw():
        for name, value in model.named_parameters():
            if "gamma" in name or "layer_scale" in name:  # Factors that begin at 1e-6, which would hide the layers before them.
                value.copy_(factors(value))
        model(*arguments)
