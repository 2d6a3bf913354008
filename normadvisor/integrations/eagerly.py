"""Compiled code, put aside while a step is recorded.

Whatever is compiled is put aside, not only what the watched model holds: it may be run through a compiled wrapper of it, which the model
does not know, and code that is compiled while hooks are there would run them for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

from normadvisor.probe.recording.compiled import eager

__all__ = ["eagerly"]

_LOCK = Lock()
_PUT_ASIDE = ExitStack()
_users = 0


@contextmanager
def eagerly() -> Iterator[None]:
    """Run what is compiled as it was written; of several users, in any order, the first switches and the last switches back."""
    global _users  # noqa: PLW0603 - how torch runs compiled code is a state of the process
    with _LOCK:
        if _users == 0:
            _PUT_ASIDE.enter_context(eager())
        _users += 1
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if _users == 0:
                _PUT_ASIDE.close()
