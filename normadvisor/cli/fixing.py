"""What ``fix`` and ``check --fix`` do: mend, show or write the changes, and say what came of it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.cli.interrupted import Interrupted
from normadvisor.cli.printing import check_writable, print_notes, print_problems, print_report, to_stderr, write_file, write_stdout

if TYPE_CHECKING:
    from normadvisor.api.check import CheckOptions
    from normadvisor.api.fixing import FixOptions, FixRun
    from normadvisor.cli.printing import Printing
    from normadvisor.config import Settings
    from normadvisor.rewrite.text.write import Written

__all__ = ["FixFlags", "fix_targets", "print_diff"]

_STDOUT = Path("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixFlags:
    """What the flags about fixing say."""

    unsafe: bool = False
    interactive: bool = False
    diff: bool = False
    patch: Path | None = None
    write: bool = False
    """Whether to write in spite of ``diff`` or ``patch``."""
    fix_only: bool = False
    key_map: Path | None = None
    to: str | None = None
    layers: tuple[str, ...] = ("*",)
    groups: int = 32

    @property
    def writes(self) -> bool:
        """Whether files are changed."""
        return self.write or not (self.diff or self.patch)


def fix_targets(
    targets: Sequence[str], find_settings: Callable[[Path], Settings], options: CheckOptions, flags: FixFlags, printing: Printing
) -> int:
    """Mend targets.

    Returns:
        The exit code: 2 where something could not be checked or written; else that of the findings that remain, or, where nothing was
        to be written, 1 if something would change.

    Raises:
        Interrupted: Ctrl-C; nothing was written.
        NormAdvisorError: the configuration, a rule or a flag is wrong.

    """
    from normadvisor.api.fixing import FixOptions

    check_writable("--patch", None if flags.patch == _STDOUT else flags.patch, "fixes.patch")
    check_writable("--key-map", flags.key_map, "keys.json")
    begin = time.monotonic()
    wanted = FixOptions(check=options, to=flags.to, layers=flags.layers, groups=flags.groups)
    try:
        run = _mended(targets, find_settings, wanted, flags, printing)
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    return _delivered(run, flags, printing, begin)


def _mended(
    targets: Sequence[str], find_settings: Callable[[Path], Settings], options: FixOptions, flags: FixFlags, printing: Printing
) -> FixRun:
    """The changes that hold; nothing is written."""
    from normadvisor.api.fixing import Fixer
    from normadvisor.cli.progress import shown_progress

    if flags.interactive:
        from normadvisor.cli.interactive.choosing import chosen

        return chosen(targets, find_settings, options, printing)
    # A conversion that was asked for is wanted although it changes what is learned.
    unsafe = flags.unsafe or flags.to is not None
    with shown_progress(quiet=printing.quiet) as progress, Fixer(targets, find_settings, options, progress) as fixer:
        return fixer.fix_all(unsafe=unsafe)


def _delivered(run: FixRun, flags: FixFlags, printing: Printing, begin: float) -> int:
    """Write what is to be written, print what is to be printed, and say what came of it."""
    from normadvisor.cli.outcome import summary_lines
    from normadvisor.files.overlay import overlaid

    if flags.patch is not None:
        _write_patch(run, flags.patch)
    written = None
    if flags.writes:
        with _uninterrupted():
            written = run.write()
    keys = _save_keys(run, flags.key_map)
    elapsed = None if flags.interactive else time.monotonic() - begin  # what the user took to think says nothing
    if not flags.interactive:
        print_notes(run.after, printing)
    if flags.diff:
        print_diff(run, printing)
    if not flags.fix_only and (printing.output is not None or not (flags.diff or flags.patch == _STDOUT)):
        # Code is shown as what was found in it: where nothing was written the files do not hold it.
        with overlaid({change.path: change.after for change in run.changes}):
            print_report(run.after, printing, elapsed)
    else:
        print_problems(run.after)
    sys.stdout.flush()
    failed = [] if written is None else [f"error: not written: {_shown(path)} {reason}" for path, reason in written.failed]
    if not printing.quiet:
        summary = summary_lines(run, written, unsafe=flags.unsafe or flags.interactive or flags.to is not None)
        nothing = _nothing_to_convert(run, flags)
        to_stderr(line for whole in (*nothing, *summary, *keys) for line in _wrapped(whole))
        to_stderr(f"note: {_shown(path)} {note}" for path, note in (written.notes if written is not None else ()))
    to_stderr(failed)
    return _exit_code(run, flags, printing, written)


def _nothing_to_convert(run: FixRun, flags: FixFlags) -> list[str]:
    if flags.to is None or run.applied or run.rolled_back or run.skipped or run.before.report.problems:
        return []
    all_layers = flags.layers == ("*",)
    return ["there is no BatchNorm to convert" if all_layers else f"no BatchNorm matches --layers {' '.join(flags.layers)}"]


def _wrapped(line: str) -> list[str]:
    """A line as a terminal should show it, broken between words."""
    if not sys.stderr.isatty():
        return [line]
    import textwrap

    from normadvisor.report import RenderOptions

    width = max(40, RenderOptions.for_stream(sys.stderr).width)
    return textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False, drop_whitespace=True)


def _shown(path: Path) -> str:
    from normadvisor.report.paths import shown

    return shown(str(path), Path.cwd())


def _exit_code(run: FixRun, flags: FixFlags, printing: Printing, written: Written | None) -> int:
    remaining = run.after.report.exit_code(run.after.settings.fail_on)
    if remaining == 2 or (written is not None and written.failed):
        return 2
    if printing.exit_zero:
        return 0
    if not flags.writes:
        return int(bool(run.changes))
    return 0 if flags.fix_only else remaining


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait: of several files either all are written or none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _write_patch(run: FixRun, path: Path) -> None:
    from normadvisor.rewrite.text.changes import patch

    data = patch(run.changes, Path.cwd())
    if path == _STDOUT:
        write_stdout(data)
    else:
        write_file("--patch", path, data)


def print_diff(run: FixRun, printing: Printing) -> None:
    """The changes; for a pipe byte for byte, so that what reads it can apply them."""
    from normadvisor.errors import RewriteError
    from normadvisor.report import RenderOptions
    from normadvisor.report.clean import encodable
    from normadvisor.rewrite.text.changes import diff, patch

    if not sys.stdout.isatty() and printing.use_color is not True:
        with suppress(RewriteError):  # a file elsewhere cannot be named in a patch
            write_stdout(patch(run.changes, Path.cwd()))
            return
    color = RenderOptions.for_stream(sys.stdout, color=printing.use_color).color
    for change in run.changes:
        sys.stdout.write(encodable(diff(change, root=Path.cwd(), color=color), sys.stdout.encoding or "utf-8"))


def _save_keys(run: FixRun, path: Path | None) -> list[str]:
    """Save how keys changed, and say where."""
    from normadvisor.cli.outcome import key_map_files
    from normadvisor.errors import UsageError

    if path is None:
        return []
    lines = []
    for target, file, key_map in key_map_files(run.key_maps, path):
        try:
            key_map.save(file)
        except (OSError, ValueError) as error:
            raise UsageError(f"--key-map: cannot write {file}: {getattr(error, 'strerror', None) or error}") from error
        lines.append(f"keys of {target} saved to {file}" if target else f"no key of a state_dict changed; {file} says so")
    return lines
