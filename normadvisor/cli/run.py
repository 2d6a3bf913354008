"""Runs one command line: every way it can end becomes an exit code and, where something is wrong, one message."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import typer

from normadvisor.cli.interrupted import Interrupted
from normadvisor.errors import NormAdvisorError

__all__ = ["EXIT_INTERRUPTED", "EXIT_UNUSABLE", "run"]

EXIT_UNUSABLE = 2
"""The tool could not do its work."""
EXIT_INTERRUPTED = 130
"""Ended by Ctrl-C, as shells count it."""

# The base class of typer's own usage errors; it has moved between modules over typer's versions.
_USAGE_ERROR: type[Exception] = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")


def run(arguments: Sequence[str]) -> int:
    """Run a command line; where several processes run the same one together, rank 0 alone prints.

    Returns:
        The exit code: 0 clean, 1 findings, 2 the tool could not do its work, 130 interrupted.

    """
    if "RANK" in os.environ:
        from normadvisor.cli.ranked import is_silent, linger, silenced

        if is_silent(arguments):
            with silenced():
                code = _run(arguments)
            return linger(code)
    return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    debug = "--debug" in arguments
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
    except NormAdvisorError as error:
        if debug:
            traceback.print_exc()
        _complain(f"error: {error}")
        return EXIT_UNUSABLE
    except _USAGE_ERROR as error:
        _complain(f"error: {_usage_words(error)}")
        return EXIT_UNUSABLE
    except BrokenPipeError:
        _mute_stdout()
        return EXIT_UNUSABLE
    except Interrupted as error:
        _complain(f"interrupted: {error}")
        return EXIT_INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: a bug of ours must not look like a bug of the user's
        if debug:
            traceback.print_exc()
        words = " ".join(str(error).split())[:300]
        _complain(f"internal error: {type(error).__name__}: {words}; {'please report it' if debug else 'rerun with --debug'}")
        return EXIT_UNUSABLE
    return code


def _invoke(arguments: Sequence[str]) -> int:
    from normadvisor.cli.app import app

    code = app(list(arguments), prog_name="normadvisor", standalone_mode=False)
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _usage_words(error: BaseException) -> str:
    format_message = getattr(error, "format_message", None)
    words = " ".join(str(format_message() if format_message else error).split())
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "normadvisor")
    return f"{words.rstrip('.')} ('{path} --help' shows the usage)" if words else f"see '{path} --help'"


def _complain(message: str) -> None:
    with suppress(OSError, ValueError):  # nobody listens any more
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(message.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()


def _mute_stdout() -> None:
    """Keep Python from complaining about the closed pipe once more when it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
