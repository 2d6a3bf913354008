"""What the flags that ``check`` and ``fix`` share say, as the options of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normadvisor.cli import options as o
from normadvisor.cli.printing import Printing, check_format, check_writable

if TYPE_CHECKING:
    from normadvisor.api.check import CheckOptions
    from normadvisor.config import Settings
    from normadvisor.types.optimization import OptimizeOptions

__all__ = ["check_options", "printing_of", "settings_finder"]

_CONTEXT = ("batch_size", "task", "loss", "world_size", "precision", "distributed", "fine_tune")
_SETTINGS = ("select", "ignore", "extend_select", "severity", "rules", "baseline", "fail_on", "exclude", "timeout", "memory")


def check_options(
    given: Mapping[str, Any], *, probing: Mapping[str, Any] | None = None, optimizing: tuple[OptimizeOptions, Path | None] | None = None,
    static_rules: bool = True,
) -> CheckOptions:  # fmt: skip
    """How to check.

    Args:
        given: the parameters of the command, by name; what is not there is a flag that the command does not have.
        probing: how to measure; nothing is measured when ``None``.
        optimizing: how to optimize, and the file for the optimized model; nothing is optimized when ``None``.
        static_rules: whether findings that rest on the structure of models are reported.

    Raises:
        UsageError: the value of a flag is wrong.

    """
    from normadvisor.api.check import CheckOptions
    from normadvisor.api.job import Optimizing

    jobs = given.get("jobs")
    return CheckOptions(
        inputs=tuple(given["inputs"] or ()), context=o.context_of(**{key: given.get(key) for key in _CONTEXT}),
        show_graph=given.get("show_graph", False), debug=given["debug"], use_baseline=not given.get("write_baseline", False),
        jobs=None if jobs is None else int(o.positive("--jobs", jobs, whole=True)), static=given.get("static", False),
        use_cache=not given["no_cache"], cache_dir=given.get("cache_dir"), probing=probing, static_rules=static_rules,
        optimizing=None if optimizing is None else Optimizing(options=optimizing[0], save=optimizing[1]),
    )  # fmt: skip


def printing_of(given: Mapping[str, Any]) -> Printing:
    """How to print.

    Args:
        given: the parameters of the command, by name.

    Raises:
        UsageError: the value of a flag is wrong, or the report cannot be written where it is wanted.

    """
    o.choice("--color", given["color"], ("auto", "always", "never"))
    check_format(given["format"])
    check_writable("--output", given["output"], "report")
    return Printing(
        format=given["format"], output=given["output"], statistics=given.get("statistics", False), color=given["color"],
        quiet=given["quiet"], debug=given["debug"], exit_zero=given.get("exit_zero", False),
    )  # fmt: skip


def settings_finder(given: Mapping[str, Any]) -> Callable[[Path], Settings]:
    """What finds the settings that apply from a folder on, with the flags put over them.

    Args:
        given: the parameters of the command, by name.

    """
    from normadvisor.config import load_settings

    flags = {name: given.get(name) for name in _SETTINGS}
    return lambda start: o.overridden(load_settings(start, given["config"]), **flags)
