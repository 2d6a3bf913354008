"""What all tests share."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Tests run side by side, one per core: threads within each would only stand in line. Subprocesses inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell starts in the background ignores Ctrl-C, and so would programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Generated tests must not fail because a machine is slow; the number of cases is what counts.
settings.register_profile("ci", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "dev")


_settled = {"modules": 0}


def pytest_collection_finish() -> None:
    _settle()


def pytest_runtest_setup() -> None:
    if len(sys.modules) > _settled["modules"] + 200:
        _settle()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # Libraries complain of what is left when the process ends.


def _settle() -> None:
    """Let the collector of garbage pass over what was imported: hundreds of modules, through which it goes whenever it runs."""
    gc.collect()
    gc.freeze()
    _settled["modules"] = len(sys.modules)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def instructions() -> Callable[[Callable[[], object]], int]:
    """How many instructions of Python a call takes: the same on every machine, however busy it is."""

    def counted(run: Callable[[], object]) -> int:
        number = 0

        def trace(frame, event, arg):
            nonlocal number
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            number += event == "opcode"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            run()
        finally:
            sys.settrace(before)
        return number

    return counted
