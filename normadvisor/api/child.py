"""The process that runs a target's code: it lowers its own limits, looks at the models of one job, and reports each one.

The target's code may do anything here. What must survive is outside: the parent holds the clock and the other end of the pipes.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from normadvisor.api.job import MEETING, Job, Limits, ModelJob
from normadvisor.api.wire import encode, write_problem, write_withdrawn

if TYPE_CHECKING:
    from normadvisor.api.examine import Examined, Traced
    from normadvisor.api.probing import Prepared
    from normadvisor.probe.distributed import Ranks
    from normadvisor.rulebook.model import Rule
    from normadvisor.targets.load import Loaded
    from normadvisor.types import Problem

__all__ = ["enter", "run_job"]

_HIGH = 400
"""Descriptors below are what code that closes "all" of them counts through first; 1024 is the usual limit."""


def enter(output: int, log: int, limits: Limits) -> int:
    """Turn this process into one that a stranger's code may run in.

    Its own session and process group, standard input empty, standard output and error in ``log``, a limit on memory, no core dump, and
    a dump of the Python frames into ``output`` when it crashes or runs out of time.

    Returns:
        The descriptor to write messages to; ``output`` is closed.

    """
    if hasattr(os, "setsid"):
        with contextlib.suppress(PermissionError):  # a fresh process of the fallback may lead its session already
            os.setsid()
    output = _moved_up(output)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for descriptor in {null, log} - {0, 1, 2}:
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
    sys.stdout = sys.__stdout__ = _text_stream(1)  # type: ignore[misc, assignment]
    sys.stderr = sys.__stderr__ = _text_stream(2)  # type: ignore[misc, assignment]
    _limit_resources(limits)
    faulthandler.enable(output)
    return output


def _text_stream(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _moved_up(descriptor: int) -> int:
    try:
        import fcntl
    except ImportError:  # not on this platform
        return descriptor
    try:
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    except OSError:  # fewer descriptors allowed
        return descriptor
    os.close(descriptor)
    return high


def _limit_resources(limits: Limits) -> None:
    try:
        import resource
    except ImportError:  # not on this platform: the parent watches the memory in use
        return
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the limit on data segments does not count what malloc maps
        used = _private_bytes()
        with contextlib.suppress(ValueError, OSError):
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            wanted = used + limits.memory * 2**20
            resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _private_bytes() -> int:
    """Bytes this process has mapped privately: what ``RLIMIT_DATA`` counts, torch's libraries included."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def run_job(job: Job, rules: Sequence[Rule], limits: Limits, output: int) -> None:
    """Check every model of a job, one message each, and an ``end`` message when all are done.

    Returns only when the job is finished; the caller ends the process without Python's usual tidying up, which the target's threads and
    exit handlers could hold up.
    """
    # A model may put a function of its own in place of os.write.
    write = os.write

    def send(message: dict[str, Any]) -> None:
        line = memoryview(encode(message))
        while line:
            line = line[write(output, line) :]

    if job.announcement is not None:
        from normadvisor.probe.distributed import announce

        announce(job.announcement.environment, job.announcement.text)
        return
    if job.cwd is not None:
        os.chdir(job.cwd)
    chosen = list(rules) if job.rules is None else [rules[index] for index in job.rules]
    run = _Run(job, chosen, limits, output, send)
    with _overlaid(job):
        for index in range(len(job.models)):
            if run.send_model(index):
                break  # the file cannot be imported, so its other models cannot be built either
    send({"kind": "end"})
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the target may have closed or replaced it
            stream.flush()


@contextlib.contextmanager
def _overlaid(job: Job) -> Iterator[None]:
    """Give files the contents that the job says; a job that compares two states sets its overlays itself."""
    if job.overlay and job.proof is None:
        from normadvisor.api.verify import files_as

        with files_as(job.overlay):
            yield
    else:
        yield


class _Run:
    """The models of a job, one after another."""

    def __init__(
        self, job: Job, rules: Sequence[Rule], limits: Limits, output: int, send: Callable[[dict[str, Any]], None]
    ) -> None:
        from normadvisor.api.edits import EditWriter

        self._job = job
        self._rules = rules
        self._limits = limits
        self._output = output
        self._send = send
        self._edits = EditWriter()

    def send_model(self, index: int) -> bool:
        """Check one model and send what came of it; returns whether its file failed to be imported."""

        def phase(name: str) -> None:
            self._send({"kind": "phase", "model": index, "phase": name})
            seconds = self._limits.seconds(name)
            if seconds is not None:
                self._watch(seconds, str(model.target))

        def give_up(problem: Problem) -> None:
            from normadvisor.api.examine import failed

            faulthandler.cancel_dump_traceback_later()
            for other in range(index, len(self._job.models)):
                name = str(self._job.models[other].target)
                self._send(_message(other, failed(name, replace(problem, target=name))) | {"import_failed": False})
            self._send({"kind": "end"})

        def check(ranks: Ranks | None) -> tuple[Examined, bool]:
            phase("importing")
            return self._check(index, model, phase, ranks)

        model = self._job.models[index]
        try:
            if model.probing is None:
                result, import_failed = check(None)
            else:
                from normadvisor.api.on_ranks import with_ranks

                phase("importing" if model.meeting is None else MEETING)
                result, import_failed = with_ranks(model, self._limits, check, give_up)
        except BaseException as error:  # noqa: BLE001 - the target's code may raise anything; a Ctrl-C of the user does not reach this session
            from normadvisor.api.examine import failed, problem_of

            result, import_failed = failed(str(model.target), problem_of(error, str(model.target))), False
        faulthandler.cancel_dump_traceback_later()
        self._send(_message(index, result) | {"import_failed": import_failed})
        return import_failed

    def _watch(self, seconds: float, name: str) -> None:
        """Have the frames dumped after so many seconds.

        Raises:
            TargetError: memory is so short that no thread can be started.

        """
        from normadvisor.errors import TargetError

        try:
            # The parent kills a model that is over time a little later; until then its frames are on their way.
            faulthandler.dump_traceback_later(seconds, file=self._output)
        except RuntimeError as error:
            message = f"{name} cannot be looked at within {self._limits.memory} MiB of memory: not even a thread can be started"
            raise TargetError(message, hint="raise the limit with --memory") from error

    def _check(self, index: int, model: ModelJob, phase: Callable[[str], None], ranks: Ranks | None) -> tuple[Examined, bool]:
        from normadvisor.api.examine import failed, problem_of
        from normadvisor.errors import NormAdvisorError
        from normadvisor.targets.load import load

        job, name = self._job, str(model.target)
        if job.proof is not None:
            from normadvisor.api.verify import verify

            # A draw that began before this is over may take as long as all before it.
            return verify(model, self._rules, job, phase, edits=self._edits, seconds=self._limits.timeout), False
        try:
            loaded = load(model.target, real=model.runs)
        except NormAdvisorError as error:
            # Without a cause it is our own judgement on this one name; with one, the file itself failed.
            return failed(name, problem_of(error, name)), error.__cause__ is not None
        gc.enable()
        prepared: Prepared | None = None
        if model.probing is not None:
            from normadvisor.api.probing import Prepared

            prepared = Prepared.of(model.probing, name, phase, ranks)
        phase("building")
        try:
            result, known = self._examined(model, loaded, phase, prepared)
        except NormAdvisorError as error:
            return failed(name, problem_of(error, name)), False
        if prepared is not None:
            from normadvisor.api.probing import Worker, probed

            _use_threads(self._limits.threads)
            self._send(_message(index, result) | {"kind": "partial"})
            worker = Worker(phase, lambda part: self._send({"kind": "part", "model": index, "part": part}))
            result = probed(model, prepared, loaded, result, known, self._rules, worker)
        elif model.optimizing is not None:
            from normadvisor.api.optimizing import optimized
            from normadvisor.api.probing import Worker

            _use_threads(model.optimizing.options.threads or self._limits.threads)
            self._send(_message(index, result) | {"kind": "partial"})
            worker = Worker(phase, lambda part: self._send({"kind": "part", "model": index, "part": part}))
            result = optimized(model, model.optimizing, loaded, result, known, self._rules, worker)
        files: tuple[str, ...] = ()
        if job.list_files:
            from normadvisor.api.imported import imported_files

            files = imported_files(model.root)
        return replace(result, files=files), False

    def _examined(
        self, model: ModelJob, loaded: Loaded, phase: Callable[[str], None], prepared: Prepared | None
    ) -> tuple[Examined, Traced | None]:
        """What comes of a model without running it, and its trace."""
        from normadvisor.api.examine import examine, trace_built, untraced
        from normadvisor.errors import TargetError
        from normadvisor.probe.distributed.live import refuse_sharded
        from normadvisor.targets.build import build

        name = str(model.target)
        built = build(loaded)
        batch = None if prepared is None else prepared.inputs(built.model)
        phase("tracing")
        try:
            refuse_sharded(built.model)
            known = trace_built(built, target=name, inputs=model.inputs, context=model.context, batch=batch)
        except TargetError as error:
            if prepared is None or prepared.batches is None:
                raise
            # With batches of the user's it can be measured all the same.
            return untraced(name, error), None
        # What replacements find is said once they are measured.
        rules = () if model.optimizing is not None else self._rules
        result = examine(
            built.model, rules, target=name, inputs=model.inputs, context=model.context, root=model.root, sites=built.sites,
            defined_at=built.defined_at, show_graph=self._job.show_graph, phase=phase, edits=self._edits, conversion=self._job.conversion,
            known=known,
        )  # fmt: skip
        return replace(result, notes=(*built.notes, *result.notes)), known


def _use_threads(threads: int | None) -> None:
    """Let torch compute with several threads, here and in processes that the target starts."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _message(index: int, result: Examined) -> dict[str, Any]:
    return {
        "kind": "model",
        "model": index,
        "summary": result.summary.to_dict(),
        "findings": [finding.to_dict() for finding in result.findings],
        "notes": list(result.notes),
        "inferred": result.inferred,
        "table": result.table,
        "problems": [write_problem(problem) for problem in result.problems],
        "proof": None if result.proof is None else result.proof.to_dict(),
        "key_map": None if result.key_map is None else result.key_map.to_dict(),
        "unchanged": result.unchanged,
        "files": list(result.files),
        "measurements": None if result.measurements is None else result.measurements.to_dict(),
        "withdrawn": [write_withdrawn(item) for item in result.withdrawn],
        "optimization": None if result.optimization is None else result.optimization.to_dict(),
    }
