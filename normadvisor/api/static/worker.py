"""A process that reads files: the paths come in on standard input, one JSON line per file goes out."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue

from normadvisor.api.static.analyse import Analyser

__all__ = ["main"]


def main() -> None:
    """Serve the parent until it closes our standard input, which it also does by dying; then end at once, whatever is being read."""
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group, and the parent ends us
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed by accident must not stand among the answers
    setup = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent over a private pipe
    paths: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(paths,), daemon=True).start()
    # Syntax trees hold no circles; looking for some in all of them over and over takes a fifth of the time.
    gc.set_threshold(100_000, 50, 100)
    analyser = Analyser(setup)
    while True:
        result = analyser.read(Path(paths.get()))
        answers.write(json.dumps(result.to_dict(), separators=(",", ":"), default=str).encode("ascii") + b"\n")
        answers.flush()


def _listen(paths: SimpleQueue[str]) -> None:
    """Take in paths; the end of them is the end of this process."""
    for line in sys.stdin.buffer:
        paths.put(json.loads(line))
    os._exit(0)
