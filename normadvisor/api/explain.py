"""Why a child ended without an answer, in words a user can act on."""

from __future__ import annotations

import re
import signal
import sys
import sysconfig
from pathlib import Path

from normadvisor.api.attempt import MAX_PRINTED, Attempt
from normadvisor.api.job import OPTIMIZING, PROBING
from normadvisor.types import Location, Problem

__all__ = ["explain"]

_FRAME = re.compile(r'^  File "(?P<path>[^"]+)", line (?P<line>\d+)(?: in (?P<function>.*))?$', re.MULTILINE)
_BLOCK = re.compile(r"^(?:Current t|T)hread 0x[^\n]*\n((?:  [^\n]*\n?)*)", re.MULTILINE)

_CRASHES = {
    "SIGSEGV": "crashed with a segmentation fault", "SIGABRT": "aborted the process", "SIGBUS": "crashed with a bus error",
    "SIGFPE": "crashed with a floating point exception", "SIGILL": "crashed with an illegal instruction",
    "SIGKILL": "was killed from outside, perhaps because the machine ran out of memory", "SIGTERM": "was ended from outside",
}  # fmt: skip
_LATE = re.compile(r"^Timeout \(\d+:\d\d:\d\d(?:\.\d+)?\)!$", re.MULTILINE)
"""What precedes the frames of a child that is over time. They are read while its threads go on, and may make it crash."""
_WORKER_FAILED = 70
"""Exit code of a child whose own code failed rather than the target's."""


def explain(attempt: Attempt) -> Problem:
    """The problem to report for the model a child was working on when it ended."""
    target = attempt.job.label if importing_all(attempt) else str(attempt.job.models[attempt.model].target)
    doing = attempt.phase or "starting"
    dump = attempt.dump.decode(errors="replace")
    crashed = attempt.status is not None and attempt.status < 0
    message, hint = _words(attempt, target, doing, late=attempt.overdue or (crashed and _LATE.search(dump) is not None))
    printed = attempt.printed.decode(errors="replace")
    details = "\n".join(part for part in (dump.strip(), printed.strip()) if part) or None
    return Problem(target=target, message=message, location=_user_frame(dump), hint=hint, details=details)


def importing_all(attempt: Attempt) -> bool:
    """Whether a child ended while it imported the file for the first time, so that none of the models can be had."""
    return attempt.phase == "importing" and attempt.model == 0


def _words(attempt: Attempt, target: str, doing: str, *, late: bool) -> tuple[str, str | None]:
    if attempt.over_memory is not None:
        message = f"{doing} {target} takes more than {attempt.limits.memory} MiB of memory"
        return message, "raise the limit with --memory, or name a smaller configuration"
    if attempt.flooded:
        return f"{doing} {target} printed more than {MAX_PRINTED // 2**20} MiB", "is there a loop without end that prints?"
    if late:
        seconds = attempt.limits.seconds(doing)
        message = f"{doing} {target} took longer than {attempt.limits.timeout if seconds is None else seconds:g} s"
        if doing in {PROBING, OPTIMIZING}:
            during = f" ({attempt.part})" if attempt.part else ""
            what = "step" if doing == PROBING else "pass"
            return f"{message}{during}", f"a {what} does not end, or is too long: raise --budget, or lower --batch-size"
        guard = "move what runs as a script under if __name__ == '__main__':, or " if doing == "importing" else ""
        return message, f"{guard}raise the limit with --timeout"
    status = attempt.status
    if status is None:
        return f"{doing} {target} took the worker process down with it", "see what it does to other processes"
    if status < 0:
        return f"{doing} {target} {_signal_words(-status)}", "--debug shows where"
    if status == _WORKER_FAILED:
        return f"the worker failed while {doing} {target}", "this is a bug of normadvisor; --debug shows the traceback"
    hint = "move what runs as a script under if __name__ == '__main__':" if doing == "importing" else None
    return f"{doing} {target} ended the process with exit code {status}", hint


def _signal_words(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    words = _CRASHES.get(name, "was ended by a signal")
    return f"{words} ({name})"


def _user_frame(dump: str) -> Location | None:
    """The innermost line of the user's code among dumped frames: of the thread that crashed, else of the main thread."""
    blocks = list(_BLOCK.finditer(dump))
    if not blocks:
        return None
    # A thread stands before those it was started by, so that the main thread comes last.
    block = next((block for block in blocks if block[0].startswith("Current")), blocks[-1])
    for frame in _FRAME.finditer(block[1]):
        if _is_user_file(frame["path"]):
            return Location(frame["path"], max(1, int(frame["line"])))
    return None


def _is_user_file(path: str) -> bool:
    if path.startswith("<"):
        return False
    file = Path(path)
    installed = "site-packages" in file.parts or "dist-packages" in file.parts
    if installed:
        return "torch" not in file.parts
    own = Path(__file__).resolve().parent.parent
    library = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    return not any(file.is_relative_to(folder) for folder in (own, *library, Path(sys.prefix) / "lib"))
