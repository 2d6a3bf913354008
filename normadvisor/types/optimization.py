"""What came of optimizing a model: plain data, which a process without torch may hold, print and store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

__all__ = [
    "CHANNELS_LAST",
    "DTYPES",
    "MODES",
    "RULES",
    "STAGES",
    "VERDICTS",
    "Errors",
    "Left",
    "Optimization",
    "OptimizeOptions",
    "Ratio",
    "Replacement",
    "Variant",
]

T = TypeVar("T")

MODES = ("inference", "training")
DTYPES = ("float32", "bfloat16", "float16")
CHANNELS_LAST = ("auto", "on", "off")
RULES = ("NA701", "NA702", "NA703", "NA704", "NA705", "NA706")
"""Rules about faster replacements."""
STAGES = ("cleanup", "upgrade", "fold", "merge", "fuse", "layout", "activate")
"""Order in which replacements are looked for: a later stage sees the model as the earlier ones left it."""
VERDICTS: Mapping[str, str] = {
    "kept": "equal, at least 3% faster here where it stands, and the whole model is not slower",
    "no gain": "less than 3% faster here: left out",
    "slower": "slower here: left out",
    "not equal": "computes something else, or with more than twice the rounding error: left out",
    "not proven": "could not be shown to compute the same: left out",
    "not measured": "could not be measured: left out",
}
"""Verdict of a replacement, and what it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeOptions:
    """What to do. ``None`` means: chosen, and said."""

    mode: str = "inference"
    """One of :data:`MODES`."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` ..."""
    dtype: str | None = None
    """``float32``, ``bfloat16`` or ``float16``: the model and its floating-point inputs are converted first."""
    batch_size: int | None = None
    channels_last: str = "auto"
    """``auto`` measures it, ``on`` takes it without asking, ``off`` leaves the memory format alone."""
    compile: bool = False
    """Whether ``torch.compile`` and freezing are measured beside."""
    rules: tuple[str, ...] = ()
    """Ids of the rules whose replacements are tried; all when empty."""
    minimum_gain: float = 1.03
    """Ratio from which on a replacement is kept."""
    budget: float | None = None
    """Seconds for all measurements together."""
    memory: int | None = None
    """MiB for everything."""
    seed: int = 0
    cache: bool = True
    """Whether what was measured on this machine before is used again."""
    allow_busy: bool = False
    """Whether to measure although other processes compute as well: ratios are paired, but their spread grows."""
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times faster something became: paired, interleaved runs of before and after; above 1 is faster."""

    median: float
    low: float
    """Lower quartile of the ratios of pairs."""
    high: float
    """Upper quartile."""
    pairs: int
    before: float
    """Seconds of one run before, the median."""
    after: float
    """Seconds of one run after, the median."""
    cached: bool = False
    """Whether it was measured in an earlier run on this machine."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote."""
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Largest difference of an output from the same computed in float64, relative to its largest entry: the geometric mean over draws."""

    before: float
    after: float
    between: float
    """Largest relative difference of the outputs before and after, both in the dtype of the model, over all draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """All places of one pattern: one row of the table."""

    rule: str
    """``NA701`` ..."""
    stage: str
    """One of :data:`STAGES`."""
    pattern: str
    """What stands there: ``conv2d + batch_norm``."""
    replacement: str
    """What takes its place: ``conv2d``."""
    modules: tuple[str, ...]
    """Qualified names of the layers that lead the places, in the order of the model."""
    left_out: tuple[str, ...] = ()
    """Places of the same pattern whose shapes lost at the size gate."""
    kernel: Ratio | None = None
    """The operations alone at their shapes in the model, the geometric mean over places. Never an end-to-end gain."""
    end_to_end: Ratio | None = None
    """The whole model with and without this replacement."""
    memory: float | None = None
    """Peak memory of a pass after, in times of that before."""
    error: Errors | None = None
    proof: str = ""
    """What was compared, and how well it agrees."""
    verdict: str
    """One of :data:`VERDICTS`."""
    reason: str = ""

    @property
    def kept(self) -> bool:
        """Whether the optimized model has it."""
        return self.verdict == "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Places that look like a pattern and were left alone."""

    rule: str
    modules: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The whole optimized model run in another way, measured beside: never applied by itself."""

    name: str
    """``torch.compile``, ``torch.compile + freezing`` ..."""
    end_to_end: Ratio | None = None
    """Against the original model in eager mode."""
    cold_start: float | None = None
    """Seconds that the first call takes."""
    error: Errors | None = None
    reason: str = ""
    """Why it could not be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimization:
    """What came of one model."""

    target: str
    mode: str
    device: str
    """With the name of the device: ``cpu (4 threads)``, ``cuda (NVIDIA H100)``."""
    dtype: str
    inputs: str
    replacements: tuple[Replacement, ...] = ()
    left: tuple[Left, ...] = ()
    variants: tuple[Variant, ...] = ()
    end_to_end: Ratio | None = None
    """All that was kept together, against the original."""
    memory: float | None = None
    error: Errors | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    """What became of the keys of the state dict that changed, in words."""
    saved: str = ""
    """Where the optimized model was written to."""
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[Replacement, ...]:
        """Replacements that the optimized model has."""
        return tuple(each for each in self.replacements if each.kept)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is none.

        """
        return cls(
            **{
                **data,
                "replacements": tuple(_replacement(each) for each in data["replacements"]),
                "left": tuple(Left(**{**each, "modules": tuple(each["modules"])}) for each in data["left"]),
                "variants": tuple(_variant(each) for each in data["variants"]),
                "end_to_end": _read(Ratio, data["end_to_end"]),
                "error": _read(Errors, data["error"]),
                "notes": tuple(data["notes"]),
            }
        )


def _read(kind: type[T], data: Mapping[str, Any] | None) -> T | None:
    return None if data is None else kind(**data)


def _replacement(data: Mapping[str, Any]) -> Replacement:
    ratios = {name: _read(Ratio, data[name]) for name in ("kernel", "end_to_end")}
    names = {name: tuple(data[name]) for name in ("modules", "left_out")}
    found = Replacement(**{**data, **ratios, **names, "error": _read(Errors, data["error"])})
    if found.verdict not in VERDICTS:
        raise ValueError(found.verdict)
    return found


def _variant(data: Mapping[str, Any]) -> Variant:
    return Variant(**{**data, "end_to_end": _read(Ratio, data["end_to_end"]), "error": _read(Errors, data["error"])})
