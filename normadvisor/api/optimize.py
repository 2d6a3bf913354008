"""Optimizes a module of this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.api.batched import with_batch
from normadvisor.api.live import input_texts
from normadvisor.api.progress import Progress, ProgressCallback
from normadvisor.config import parse_context
from normadvisor.errors import ConfigError, UsageError
from normadvisor.types import ModelSummary, Report, RunContext, Site, TraceKind
from normadvisor.types.optimization import CHANNELS_LAST, DTYPES, MODES, RULES, Optimization, OptimizeOptions
from normadvisor.types.words import nearest

if TYPE_CHECKING:
    import torch

    from normadvisor.optimization.folding.state import FoldMap
    from normadvisor.optimization.prepared import Subject
    from normadvisor.optimization.run import Optimized
    from normadvisor.rewrite.keys import KeyMap
    from normadvisor.targets.inputs import Inputs

__all__ = ["OptimizeResult", "load_optimized", "optimize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeResult:
    """An optimized model, and what came of optimizing it. Printed, it is what ``normadvisor optimize`` shows."""

    model: torch.nn.Module
    """For inference a copy in eval mode; for training the module itself, with the same parameters."""
    optimization: Optimization
    """The table: what was tried, proven, measured and kept."""
    _result: Optimized = field(repr=False, compare=False)

    @property
    def fold_map(self) -> FoldMap:
        """Carries checkpoints of the original over: ``result.model.load_state_dict(result.fold_map.apply(state_dict))``."""
        from normadvisor.optimization.folding.state import FoldMap

        return FoldMap(self._result.steps)

    @property
    def key_map(self) -> KeyMap | None:
        """The same as a map of keys, where no values changed; else ``None``."""
        return self.fold_map.key_map()

    def undo(self) -> None:
        """Take back what was replaced in :attr:`model`; a second call does nothing.

        What is saved later is the model without replacements, and :attr:`fold_map` changes nothing any more.
        """
        self._result.journal.undo()
        object.__setattr__(self, "_result", replace(self._result, taken=(), steps=()))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Say that a result is neither copied nor pickled: it holds how the changes of this one model are taken back.

        Raises:
            UsageError: always.

        """
        message = "the result of optimize cannot be copied or pickled, since it takes back the changes of one model"
        raise UsageError(message, hint="copy or pickle result.model, or write it with result.save(path)")

    def save(self, path: str | Path) -> None:
        """Write the optimized model: ``.safetensors`` or ``.pt`` for :func:`load_optimized`, ``.pt2`` as an exported program.

        Raises:
            UsageError: the suffix is none of these, the model cannot be exported, or the file cannot be written.

        """
        from normadvisor.optimization.saving import save

        save(self._result, Path(path))

    def report(self, path: str | Path) -> None:
        """Write the report: ``.md``, ``.html`` or ``.json``; it is in place whole or not at all.

        Raises:
            UsageError: the suffix is none of these, or the file cannot be written.

        """
        from normadvisor.api.shown import write_text
        from normadvisor.report import RenderOptions, render
        from normadvisor.report.optimize import html_optimize, markdown_optimize

        path, options = Path(path), RenderOptions(root=Path.cwd())
        if path.suffix not in {".md", ".html", ".json"}:
            raise UsageError(f"a report cannot be written as {path.name}", hint="a file that ends in .md, .html or .json")
        if path.suffix == ".json":
            write_text(path, render(self._report(), "json", options=options))
        elif path.suffix == ".md":
            write_text(path, markdown_optimize(self._report(), options))
        else:
            write_text(path, html_optimize(self._report(), root=Path.cwd()))

    def __str__(self) -> str:
        """The table as text, without colours."""
        from normadvisor.report import RenderOptions
        from normadvisor.report.optimize import render_optimize

        return render_optimize(self._report(), RenderOptions(root=Path.cwd())).rstrip("\n")

    def _report(self) -> Report:
        found = self.optimization
        modules = sum(1 for _ in self.model.modules())
        summary = ModelSummary(target=found.target, trace=TraceKind.EXECUTION, inputs=found.inputs or None, modules=modules, nodes=0)
        return Report(models=(summary,), optimizations=(found,), optimized=True)


def optimize(
    model: torch.nn.Module, inputs: Any = None, *, mode: str = "inference", progress: ProgressCallback | None = None, **options: Any
) -> OptimizeResult:
    """Replace parts of a model by faster ones that compute the same: proven equal, measured here, and kept where they are faster.

    >>> result = normadvisor.optimize(model, images)  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP
    >>> result.save("model.safetensors")  # doctest: +SKIP

    Args:
        model: a ``torch.nn.Module`` of this process, on the device that it is to run on. For inference it stays as it is, whatever mode
            it is in. For training it is changed in place once everything is decided: its parameters stay the same objects, so that an
            optimizer that holds them goes on. Random states of Python, numpy and torch are put back.
        inputs: a tensor, a tuple of arguments, a dict of arguments by name; or text as ``--input`` takes it; inferred when ``None``.
        mode: ``inference`` or ``training``.
        progress: called as the work goes on.
        options: fields of :class:`normadvisor.types.OptimizeOptions`: ``compile``, ``channels_last``, ``rules``, ``budget`` ...

    Raises:
        NormAdvisorError: ``model`` is no module, an option or the inputs are wrong, or the model cannot be copied or followed.

    """
    from normadvisor.optimization.run import optimize_model

    wanted = _wanted({"mode": mode, **options})
    with _undisturbed(wanted.threads):
        subject = _subject(model, inputs, wanted)
        _check_device(subject.model, wanted.device)

        def told(what: str, done: int, total: int) -> None:
            if progress is not None:
                progress(Progress(done=done, total=total, target=subject.target, phase="optimizing", part=what))

        result = optimize_model(subject, wanted, told=told)
    return OptimizeResult(model=result.model, optimization=result.optimization, _result=result)


def load_optimized(model: torch.nn.Module, file: str | Path, inputs: Any = None) -> torch.nn.Module:
    """Make the changes again that were saved with a model, and load its weights.

    >>> model = normadvisor.load_optimized(torchvision.models.resnet18(), "model.safetensors")  # doctest: +SKIP

    Nothing is measured or proven again. Files are read as data: no code in them runs.

    Args:
        model: of the architecture that was optimized, with any weights.
        file: what :meth:`OptimizeResult.save` or ``normadvisor optimize --save`` wrote.
        inputs: as :func:`optimize` takes them; of the shapes that it was optimized with when ``None``.

    Returns:
        For inference a copy in eval mode; for training ``model`` itself, changed in place.

    Raises:
        NormAdvisorError: the file cannot be read, or the model is another one.

    """
    from normadvisor.optimization.saving.load import load, read_plan

    path = Path(file)
    plan = read_plan(path)
    if inputs is None:
        inputs = plan.made()
    if inputs is None:
        message = f"{path} does not say what inputs the model was optimized with"
        raise UsageError(message, hint="pass some of the same shapes: load_optimized(model, file, inputs)")
    with _undisturbed(None):
        return load(_subject(model, inputs, OptimizeOptions(mode=plan.mode)), path)


def _wanted(options: Mapping[str, Any]) -> OptimizeOptions:
    """The options, each looked at.

    Raises:
        UsageError: an unknown one, or a value that makes no sense.

    """
    known = dict.fromkeys(OptimizeOptions.__dataclass_fields__)
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"unknown option '{name}'", hint=nearest(name, known) or f"one of {', '.join(known)}")
        choices = _CHOICES.get(name)
        if choices is not None and value is not None and value not in choices:
            raise UsageError(f"{name} cannot be {value!r}", hint=nearest(str(value), choices) or f"one of {', '.join(choices)}")
        if name in _NUMBERS and value is not None and not _is_positive(value):
            raise UsageError(f"{name} cannot be {value!r}", hint="a number above 0")
        if name == "seed" and value is not None and type(value) is not int:
            raise UsageError(f"seed cannot be {value!r}", hint="a whole number")
    found = OptimizeOptions(**{name: value for name, value in options.items() if value is not None})
    rules: Any = options.get("rules") or ()
    return replace(found, rules=tuple(dict.fromkeys(_rules((rules,) if isinstance(rules, str) else rules))))


def _rules(words: Iterable[Any]) -> Iterator[str]:
    """Ids of rules about replacements, which may be given by their beginnings.

    Raises:
        UsageError: there is no such rule.

    """
    for word in words:
        ids = [rule for rule in RULES if rule.startswith(str(word).upper())]
        if not ids:
            raise UsageError(f"rules cannot have {word!r}", hint=f"rules about faster replacements: {RULES[0]} to {RULES[-1]}")
        yield from ids


_CHOICES: Mapping[str, Sequence[str]] = {"mode": MODES, "dtype": DTYPES, "channels_last": CHANNELS_LAST}
_NUMBERS = frozenset({"batch_size", "minimum_gain", "budget", "memory", "threads"})


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9


def _subject(model: object, inputs: Any, wanted: OptimizeOptions) -> Subject:
    """The model with its inputs.

    Raises:
        NormAdvisorError: it is no module, or the inputs are wrong or cannot be inferred.

    """
    import torch

    from normadvisor.optimization.prepared import Subject
    from normadvisor.targets.sites import site_of_code

    if not isinstance(model, torch.nn.Module):  # a caller without a type checker may pass anything
        message = f"a value of type {type(model).__name__} cannot be optimized"
        raise UsageError(message, hint="pass a torch.nn.Module; targets as text are for the command line")
    name, defined = type(model).__name__, site_of_code(type(model))
    if not isinstance(inputs, torch.Tensor | Mapping | list | tuple | str | None):
        message = f"inputs cannot be a value of type {type(inputs).__name__}"
        raise UsageError(message, hint="a tensor, a tuple of the arguments of forward, a dict of them by name, or text as --input takes it")
    if inputs is not None and not _is_text(inputs):
        args = (inputs,) if isinstance(inputs, torch.Tensor) else () if isinstance(inputs, Mapping) else tuple(inputs)
        kwargs = dict(inputs) if isinstance(inputs, Mapping) else {}
        batch = with_batch(args, kwargs, wanted.batch_size, given=True)
        return Subject(model=model, inputs=batch, target=name, spec=batch.spec, defined_at=defined)
    from normadvisor.api.examine import traced

    context = _context(wanted)
    known = traced(model, target=name, inputs=input_texts(inputs), context=context, defined_at=defined)
    if known.inputs is None:
        raise UsageError(f"no inputs for {name} could be inferred, and it has to be run", hint="pass them: optimize(model, images)")
    return _inferred(model, known.inputs, wanted, defined)


def _inferred(model: torch.nn.Module, inputs: Inputs, wanted: OptimizeOptions, defined: Site | None) -> Subject:
    from normadvisor.optimization.prepared import Subject

    real, name = inputs.on("cpu"), type(model).__name__
    batch = with_batch(tuple(real.args), real.kwargs, wanted.batch_size, given=inputs.given)
    spec = inputs.spec if wanted.batch_size is None else batch.spec
    return Subject(model=model, inputs=batch, target=name, spec=spec, defined_at=defined)


def _context(wanted: OptimizeOptions) -> RunContext:
    try:
        return parse_context({} if wanted.batch_size is None else {"batch_size": wanted.batch_size})
    except ConfigError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _is_text(inputs: Any) -> bool:
    return isinstance(inputs, str) or (isinstance(inputs, Sequence) and bool(inputs) and all(isinstance(each, str) for each in inputs))


def _check_device(model: torch.nn.Module, wanted: str) -> None:
    """A live model stays where it is.

    Raises:
        UsageError: another device is asked for.

    """
    from normadvisor.api.measure import resolve_device

    device = resolve_device(wanted, "device")
    held = {(tensor.device.type, tensor.device.index or 0) for tensor in (*model.parameters(), *model.buffers())}
    if device is not None and held and held != {(device.type, device.index or 0)}:
        raise UsageError(f"the model is not on {wanted}", hint=f"move it there first: model.to('{wanted}')")


@contextmanager
def _undisturbed(threads: int | None) -> Iterator[None]:
    """Inside, torch computes with this many threads; then that, random states and switches of the process are as they were."""
    import torch

    from normadvisor.probe.keeping.process import Process

    with torch.inference_mode(mode=False):  # what is made inside it takes part in no backward pass, and proofs have some
        process, before = Process(), torch.get_num_threads()
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            process.restore()
