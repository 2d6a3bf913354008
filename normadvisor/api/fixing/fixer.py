"""Tries fixes and keeps those that hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from normadvisor.api.fixing.choices import Candidate, Choice, FixOptions, FixRun, Trial
from normadvisor.api.options import Checked
from normadvisor.api.progress import ProgressCallback
from normadvisor.config import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Fixer"]


class Fixer:
    """Checks targets and mends them, with one set of worker processes for all of it; use it in a ``with`` statement.

    ::

        with Fixer(["net.py"], load_settings, FixOptions()) as fixer:
            fixer.check()
            for candidate in fixer.candidates(): ...
            trial = fixer.try_choices([Choice(candidate.finding, candidate.fixes[0])])

    No file is written: the callers of :meth:`try_choices` and :meth:`fix_all` write the changes they get.

    Args:
        targets: as on the command line.
        find_settings: the settings that apply from a file or folder on; called once.
        options: how to check and to mend.
        progress: called at every step; phases are those of a check, ``writing`` edits, and ``proving``.

    """

    def __init__(
        self,
        targets: Sequence[str],
        find_settings: Callable[[Path], Settings],
        options: FixOptions | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End every process."""

    @property
    def contents(self) -> Mapping[Path, bytes]:
        """What kept trials (:meth:`keep`) made of files; those that are as on the disk are left out."""
        raise NotImplementedError

    def check(self) -> Checked:
        """The check of the files as they are, kept trials included; run once for each state of the files.

        Raises:
            NormAdvisorError: the configuration, a rule or an option is wrong.

        """
        raise NotImplementedError

    def candidates(self) -> list[Candidate]:
        """Every active finding that has a fix, in the order of the report.

        Findings of several models at one place that ask for the same edits are one candidate; where they ask for different ones, none can
        be applied. A fix that is safe for one model only is unsafe.
        """
        raise NotImplementedError

    def try_choices(self, choices: Sequence[Choice]) -> Trial:
        """Apply fixes to the files as :meth:`check` saw them, and look what comes of it; nothing is kept.

        Safe fixes are tried first and have to be proven: every model that runs changed code is the same function as before. Unsafe ones on
        top have to leave models that can be built and traced, and those that do not hold the finding the same function as before. Each has
        to leave no finding of its own and to bring no new one. Where that fails, fixes are tried in halves until the culprits are known.

        Args:
            choices: fixes of :meth:`candidates`; of two that change the same text the earlier one is tried and the later one waits.

        """
        raise NotImplementedError

    def keep(self, trial: Trial) -> None:
        """Go on from the files that a trial gave: :meth:`check` and :meth:`candidates` are about those from now on."""
        raise NotImplementedError

    def fix_all(self, *, unsafe: bool = False, progress: ProgressCallback | None = None) -> FixRun:
        """Apply the default fix of every candidate, in rounds, until there is nothing left to apply.

        Args:
            unsafe: whether unsafe fixes are applied as well.
            progress: instead of the one given at the beginning.

        """
        raise NotImplementedError
