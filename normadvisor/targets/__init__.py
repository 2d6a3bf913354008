"""From what the user names to a built model with inputs: parse, discover, load, build, infer inputs.

Importing this package imports no torch; :func:`load`, :func:`build` and :func:`candidate_inputs` do, and run the target's code.
"""

from normadvisor.targets.build import Built, build
from normadvisor.targets.folders import is_excluded, python_files
from normadvisor.targets.inputs import Inputs, InputSpec, candidate_inputs, parse_input
from normadvisor.targets.load import Loaded, load
from normadvisor.targets.parse import Target, TargetKind, parse_target
from normadvisor.targets.source import Source, read_source

__all__ = [
    "Built",
    "InputSpec",
    "Inputs",
    "Loaded",
    "Source",
    "Target",
    "TargetKind",
    "build",
    "candidate_inputs",
    "is_excluded",
    "load",
    "parse_input",
    "parse_target",
    "python_files",
    "read_source",
]
