"""What was done to a model, as text: enough to do it again to a fresh one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import torch

from normadvisor import __version__
from normadvisor.errors import NormAdvisorError
from normadvisor.optimization.folding.state import FoldMap
from normadvisor.optimization.saving.arguments import described, made

if TYPE_CHECKING:
    from collections.abc import Mapping

    from normadvisor.optimization.run import Optimized

__all__ = ["FORMAT", "CannotLoad", "Change", "Plan"]

FORMAT = "normadvisor.optimized"
_VERSION = 1


class CannotLoad(NormAdvisorError):  # noqa: N818 - it says what is the case
    """A file holds no optimized model, or not one of this architecture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One replacement at one place."""

    stage: str
    turn: int
    """Which trace of the model it was found in, counted from the first."""
    rule: str
    pattern: str
    replacement: str
    modules: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, str, tuple[str, ...]]:
        """What tells it from others of its turn."""
        return self.rule, self.pattern, self.replacement, self.modules


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All replacements, in their order, and what the model was optimized for."""

    mode: str
    dtype: str
    inputs: str
    """As the report says them: as ``--input`` takes them, unless lists or dicts are among them; empty where there is no text for them."""
    arguments: Mapping[str, Any] | None = None
    """The inputs in full where ``--input`` could not say them, as :mod:`normadvisor.optimization.saving.arguments` describes them."""
    changes: tuple[Change, ...] = ()
    aliases: Mapping[str, str]
    """Keys that are not in the file, since they share the tensor of another key."""
    fold_map: Mapping[str, Any]
    """:class:`~normadvisor.optimization.folding.state.FoldMap` as JSON: carries other checkpoints of the original over."""
    torch: str
    normadvisor: str

    @classmethod
    def of(cls, result: Optimized, aliases: Mapping[str, str]) -> Self:
        """The plan of what was done."""
        report, given = result.optimization, result.inputs
        changes = tuple(
            Change(
                stage=each.stage, turn=each.turn, rule=each.candidate.rule, pattern=each.candidate.pattern,
                replacement=each.candidate.replacement, modules=each.candidate.modules,
            )
            for each in result.taken
        )  # fmt: skip
        return cls(
            mode=report.mode, dtype=report.dtype, inputs=report.inputs, changes=changes, aliases=dict(aliases),
            arguments=None if _is_plain(report.inputs) else described(tuple(given.args), given.kwargs),
            fold_map=FoldMap(result.steps).to_dict(), torch=torch.__version__, normadvisor=__version__,
        )  # fmt: skip

    def made(self) -> Any:
        """Inputs as the model was optimized with, as :func:`normadvisor.load_optimized` takes them; ``None`` where they are not known."""
        if _is_plain(self.inputs):
            return self.inputs.split()
        args, kwargs = made(self.arguments) if self.arguments is not None else (None, {})
        return kwargs or args

    def text(self) -> str:
        """As JSON."""
        return json.dumps({"format": FORMAT, "version": _VERSION, **asdict(self)})

    @classmethod
    def read(cls, text: str, where: str) -> Self:
        """Read back what :meth:`text` wrote.

        Args:
            text: JSON.
            where: the file, for messages.

        Raises:
            CannotLoad: it is something else, or of a later version.

        """
        try:
            data: dict[str, Any] = json.loads(text)
            kind, version = data.pop("format"), data.pop("version")
            plan = cls._of_data(data) if (kind, version) == (FORMAT, _VERSION) else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CannotLoad(f"{where} holds no optimized model", hint="it was not written by normadvisor optimize --save") from error
        if plan is None:
            message = f"{where} was written by another version of normadvisor ({data.get('normadvisor')})"
            raise CannotLoad(message, hint="install that version")
        return plan

    @classmethod
    def _of_data(cls, data: dict[str, Any]) -> Self:
        changes = tuple(Change(**{**change, "modules": tuple(change["modules"])}) for change in data.pop("changes"))
        return cls(**data, changes=changes)


def _is_plain(inputs: str) -> bool:
    """Whether ``--input`` takes the words of a text, each for one argument."""
    return bool(inputs) and not set(inputs) & set("[{")
