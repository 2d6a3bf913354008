"""Mends targets: source where they are named by text, the model itself where it is one of this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from normadvisor.api.fixing.choices import CONVERSIONS, FixOptions, FixRun
from normadvisor.api.options import CheckOptions
from normadvisor.api.progress import ProgressCallback
from normadvisor.config import Settings, load_settings, parse_context
from normadvisor.errors import RewriteError, UsageError

if TYPE_CHECKING:
    import torch

    from normadvisor.api.live_fix import FixResult
    from normadvisor.rewrite.convert import ConversionResult

__all__ = ["convert", "fix"]


@overload
def fix(targets: torch.nn.Module, inputs: Any = None, **options: Any) -> FixResult: ...


@overload
def fix(targets: str | Path | Sequence[str | Path], inputs: Any = None, **options: Any) -> FixRun: ...


def fix(
    targets: torch.nn.Module | str | Path | Sequence[str | Path],
    inputs: Any = None,
    *,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    unsafe: bool = False,
    write: bool = False,
    settings: Settings | None = None,
    **more: Any,
) -> FixRun | FixResult:
    """Mend models: every safe fix is proven to leave the function as it is, and taken back if it does not.

    >>> run = fix("model.py")  # nothing is written yet  # doctest: +SKIP
    >>> print(run)  # doctest: +SKIP
    >>> run.write()  # doctest: +SKIP
    >>> result = fix(model, inputs="2x3x224x224", optimizer=optimizer)  # the model itself  # doctest: +SKIP

    Args:
        targets: what the command line takes, one or several: their source is edited. Or a ``torch.nn.Module`` of this process, which is
            changed in place.
        inputs: as :func:`normadvisor.check` takes them; inferred when ``None``.
        select: ids of rules, or their beginnings: only what these find is mended.
        ignore: those to leave alone.
        unsafe: whether fixes that change what is learned or stored are applied as well.
        write: whether the files are written; else :meth:`FixRun.write` does it. Not for a module.
        settings: the configuration; found as on the command line when ``None``.
        more: ``jobs`` and ``progress`` as :func:`normadvisor.check` takes them; for a module ``optimizer``, whose parameters are mended;
            and how the models are trained: ``batch_size=2``, ``task="detection"`` ...

    Returns:
        What was fixed, rolled back and left alone, for source with the changes of files.

    Raises:
        NormAdvisorError: the configuration, a rule or the context is wrong; with ``write`` also where a file could not be written.

    """
    if not isinstance(targets, str | Path | Sequence):
        from normadvisor.api.live_fix import fix as fix_module

        if write:
            raise UsageError("a model of this process has no source to write", hint="name the target as text: 'model.py'")
        return fix_module(targets, inputs, select=select, ignore=ignore, unsafe=unsafe, settings=settings, **more)
    return _run(targets, inputs, FixOptions(), _Settings(settings, select, ignore), unsafe=unsafe, write=write, more=more)


def convert(
    targets: torch.nn.Module | str | Path | Sequence[str | Path],
    to: str,
    *,
    layers: str | Sequence[str] = "*",
    groups: int = 32,
    inputs: Any = None,
    write: bool = False,
    settings: Settings | None = None,
    **more: Any,
) -> FixRun | ConversionResult:
    """Convert BatchNorm to another norm: in the source of targets, or in a model of this process.

    Args:
        targets: as :func:`fix` takes them.
        to: ``group_norm``, ``layer_norm``, ``sync_batch_norm``, ``frozen_batch_norm`` or ``instance_norm``.
        layers: globs over qualified names of layers; one that begins with ``!`` leaves layers out.
        groups: groups of a GroupNorm at most.
        inputs: as :func:`normadvisor.check` takes them; not for a module.
        write: whether the files are written; not for a module.
        settings: the configuration; found as on the command line when ``None``.
        more: as for :func:`fix`.

    Raises:
        NormAdvisorError: there is no such conversion, the configuration or the context is wrong; with ``write`` also where a file could
            not be written.

    """
    if to not in CONVERSIONS:
        raise UsageError(f"there is no conversion to {to!r}", hint=f"one of {', '.join(CONVERSIONS)}")
    if not isinstance(targets, str | Path | Sequence):
        from normadvisor.rewrite.convert import convert_norms

        return convert_norms(targets, to, layers=layers, groups=groups, **more)
    globs = (layers,) if isinstance(layers, str) else tuple(layers)
    options = FixOptions(to=to, layers=globs, groups=groups)
    return _run(targets, inputs, options, _Settings(settings, None, None), unsafe=True, write=write, more=more)


class _Settings:
    """Finds settings, with what the caller says put over them."""

    def __init__(self, given: Settings | None, select: Sequence[str] | None, ignore: Sequence[str] | None) -> None:
        self._given = given
        self._said: dict[str, Any] = {
            name: (value,) if isinstance(value, str) else tuple(value)
            for name, value in (("select", select), ("ignore", ignore))
            if value is not None
        }

    def __call__(self, start: Path) -> Settings:
        return replace(load_settings(start) if self._given is None else self._given, **self._said)


def _run(
    targets: str | Path | Sequence[str | Path],
    inputs: Any,
    options: FixOptions,
    find: _Settings,
    *,
    unsafe: bool,
    write: bool,
    more: dict[str, Any],
) -> FixRun:
    from normadvisor.api.fixing.fixer import Fixer

    jobs: int | None = more.pop("jobs", None)
    progress: ProgressCallback | None = more.pop("progress", None)
    if "optimizer" in more:
        raise UsageError("an optimizer goes with a model of this process, not with source")
    texts = [str(targets)] if isinstance(targets, str | Path) else [str(target) for target in targets]
    given = (inputs,) if isinstance(inputs, str) else tuple(inputs or ())
    check = CheckOptions(inputs=given, context=parse_context(more), jobs=jobs)
    with Fixer(texts, find, replace(options, check=check), progress) as fixer:
        run = fixer.fix_all(unsafe=unsafe)
    if write and (failed := run.write().failed):
        reasons = "; ".join(f"{path} {reason}" for path, reason in failed)
        raise RewriteError(f"not everything could be written: {reasons}", hint="run it again")
    return run
