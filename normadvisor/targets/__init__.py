"""From what the user names to a built model with inputs: parse, discover, load, build, infer inputs.

Importing this package imports no torch; :func:`load`, :func:`build` and :func:`candidate_inputs` do, and run the target's code.
"""

from normadvisor.files.folders import is_excluded, python_files
from normadvisor.files.source import Source, read_source
from normadvisor.targets.build import Built, build
from normadvisor.targets.discover import Candidate, CandidateKind, discover, discover_in
from normadvisor.targets.inputs import Inputs, InputSpec, candidate_inputs, parse_input
from normadvisor.targets.load import Loaded, load
from normadvisor.targets.parse import Target, TargetKind, parse_target
from normadvisor.targets.pragma import Pragmas, read_pragmas

__all__ = [
    "Built",
    "Candidate",
    "CandidateKind",
    "InputSpec",
    "Inputs",
    "Loaded",
    "Pragmas",
    "Source",
    "Target",
    "TargetKind",
    "build",
    "candidate_inputs",
    "discover",
    "discover_in",
    "is_excluded",
    "load",
    "parse_input",
    "parse_target",
    "python_files",
    "read_pragmas",
    "read_source",
]
