"""A fresh process for one job, where processes cannot be forked: reads the job from standard input, answers on standard output."""

from __future__ import annotations

import os
import pickle
import sys
import traceback

from normadvisor.api.wire import encode

__all__ = ["main"]


def main() -> None:
    """Run the pickled job on standard input; messages go to what was standard output."""
    leave = os._exit  # the target's code may put something else in its place
    rules, job, limits = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent over a private pipe
    output = os.dup(1)
    try:
        from normadvisor.api.child import enter, run_job
        from normadvisor.api.examine import examine  # noqa: F401
    except Exception as error:  # noqa: BLE001 - a broken installation of torch can raise anything; the parent explains it
        line = encode({"kind": "broken", "message": f"{type(error).__name__}: {error}", "details": traceback.format_exc()})
        os.write(output, line)
        return
    output = enter(output, os.dup(2), limits)
    run_job(job, rules, limits, output)
    leave(0)
