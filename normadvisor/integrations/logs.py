"""Where the numbers of a training go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeAlias

from normadvisor.errors import NormAdvisorError, UsageError
from normadvisor.report.logs import Destination, Log, StepNumbers, destination, start_log
from normadvisor.types import Finding

__all__ = ["Logs", "Sink"]

LOGGER: Final = logging.getLogger("normadvisor")

Sink: TypeAlias = Callable[[StepNumbers], None]
"""Takes the numbers of each measured step."""


class Logs:
    """All places that numbers go to.

    Args:
        given: places as text, functions, or several of either.

    Raises:
        UsageError: a place is wrong or needs a package that is missing.

    """

    def __init__(self, given: str | Sink | Sequence[str | Sink] | None) -> None:
        several: Sequence[object] = () if given is None else (given,) if isinstance(given, str) or callable(given) else given
        self._places: list[Destination] = []
        self._functions: list[Sink] = []
        for one in several:
            if isinstance(one, str):
                self._places.append(destination(one))
            elif callable(one):
                self._functions.append(one)
            else:
                message = f"a value of type {type(one).__name__} is no place to log to"
                raise UsageError(message, hint="pass text such as 'csv:FILE', or a function")
        self._open: dict[Destination, Log] = {}

    def open(self) -> None:
        """Open those that are places.

        Raises:
            UsageError: one cannot be written to.

        """
        try:
            for place in self._places:
                self._open[place] = start_log(place)
        except BaseException:
            self.close()
            raise

    def write(self, numbers: StepNumbers, findings: tuple[Finding, ...]) -> None:
        """Hand the numbers of a step to all. A place that fails is left out from then on, and told of: the training matters more."""
        numbers = replace(numbers, findings=findings)
        for place, log in list(self._open.items()):
            try:
                log.write(numbers)
            except (NormAdvisorError, OSError) as error:
                LOGGER.warning("nothing more is logged to %s: %s", place, error)
                del self._open[place]
                with suppress(NormAdvisorError, OSError):
                    log.close()
        for function in self._functions:
            function(numbers)

    def close(self) -> None:
        """Close those that are places."""
        for place in list(self._open):
            log = self._open.pop(place)
            try:
                log.close()
            except (NormAdvisorError, OSError) as error:
                LOGGER.warning("%s could not be closed: %s", place, error)
