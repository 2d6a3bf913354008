"""The options of ``optimize``, each with its flag and its help, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from normadvisor.cli import options as o
from normadvisor.cli.printing import check_writable
from normadvisor.cli.probe_options import budget_seconds, seed_number
from normadvisor.errors import UsageError
from normadvisor.types.optimization import CHANNELS_LAST, DTYPES, MODES, RULES, OptimizeOptions

__all__ = ["optimize_options", "report_file", "save_file"]

For = Annotated[str, typer.Option("--for", metavar="MODE", help="inference (default) or training.")]
BatchSize = Annotated[str | None, typer.Option(metavar="N", help="Samples of a pass; as many as inputs have, or 2, by default.")]
Dtype = Annotated[str | None, typer.Option(metavar="NAME", help="float32, bfloat16 or float16: convert the model first; else as it is.")]
Compile = Annotated[bool, typer.Option("--compile", help="Measure torch.compile beside, with freezing as well: minutes.")]
ChannelsLast = Annotated[
    str, typer.Option("--channels-last", metavar="WHEN", help="auto (default) keeps it where it is faster; on or off without asking.")
]
Budget = Annotated[str | None, typer.Option(metavar="TIME", help="Time for one model: 120s (default), 5m; what does not fit is not begun.")]
Save = Annotated[
    Path | None, typer.Option("--save", metavar="FILE", help="Write the optimized model: .safetensors, .pt or .pt2 (exported).")
]
Report = Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write the report: .md, .html or .json.")]
Threads = Annotated[str | None, typer.Option(metavar="N", help="Threads that the model is measured with; one per core by default.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Measure everything anew, and keep nothing.")]
AllowBusy = Annotated[
    bool, typer.Option("--allow-busy", help="Measure although other processes compute as well; else that is waited for, then given up.")
]
Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="RULES", help="Rules whose replacements are tried: NA701, NA706 ...; else all.")
]
Diff = Annotated[bool, typer.Option("--diff", help="Print the edits of the source that do the same, and write none.")]

_REPORTS = (".md", ".html", ".json")
_SAVED = (".safetensors", ".pt", ".pt2")


def optimize_options(given: Mapping[str, Any]) -> OptimizeOptions:
    """What flags say.

    Args:
        given: the parameters of the command, by name.

    Raises:
        UsageError: the value of a flag is wrong.

    """
    found: dict[str, Any] = {
        "mode": o.choice("--for", given["mode"], MODES), "compile": given["compile"], "cache": not given["no_cache"],
        "channels_last": o.choice("--channels-last", given["channels_last"], CHANNELS_LAST), "allow_busy": given["allow_busy"],
        "rules": _rules(given["only"]),
    }  # fmt: skip
    if given["device"] is not None:
        found["device"] = given["device"]
    if given["dtype"] is not None:
        found["dtype"] = o.choice("--dtype", given["dtype"], DTYPES)
    if given["budget"] is not None:
        found["budget"] = budget_seconds(given["budget"])
    if given["seed"] is not None:
        found["seed"] = seed_number(given["seed"])
    if given["batch_size"] is not None:
        found["batch_size"] = int(o.positive("--batch-size", given["batch_size"], whole=True))
    if given["threads"] is not None:
        found["threads"] = int(o.positive("--threads", given["threads"], whole=True))
    return OptimizeOptions(**found)


def _rules(values: list[str] | None) -> tuple[str, ...]:
    """Ids of rules about replacements, which may be given by their beginnings."""
    found: dict[str, None] = {}
    for word in o.words_of(values):
        ids = [rule for rule in RULES if rule.startswith(word.upper())]
        if not ids:
            raise UsageError(f"--only cannot be '{word}'", hint=f"rules about faster replacements: {RULES[0]} to {RULES[-1]}")
        found |= dict.fromkeys(ids)
    return tuple(found)


def report_file(path: Path | None) -> Path | None:
    """The file of ``--report``.

    Raises:
        UsageError: its suffix is none of a report, or it cannot be written.

    """
    if path is not None and path.suffix not in _REPORTS:
        raise UsageError(f"--report cannot be '{path.name}'", hint=f"a file that ends in {', '.join(_REPORTS)}")
    check_writable("--report", path, "report.html")
    return path


def save_file(path: Path | None, mode: str) -> Path | None:
    """The file of ``--save``, absolute.

    Args:
        path: as given.
        mode: what the model is optimized for.

    Raises:
        UsageError: its suffix is none of a saved model, or of none that can be written here, or the file cannot be written.

    """
    if path is None:
        return None
    if path.suffix not in _SAVED:
        raise UsageError(f"--save cannot be '{path.name}'", hint=f"a file that ends in {', '.join(_SAVED)}")
    if path.suffix == ".pt2" and mode == "training":
        raise UsageError("--save: a model for training is not exported as a program", hint="save its weights: .safetensors or .pt")
    if path.suffix == ".safetensors" and find_spec("safetensors") is None:
        raise UsageError("--save: safetensors is not installed", hint="pip install safetensors, or save as .pt")
    check_writable("--save", path, "model.safetensors")
    return path.resolve()
