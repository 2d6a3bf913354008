"""Inputs for a model's ``forward``: parsed from ``--input``, or inferred."""

from normadvisor.targets.inputs.candidates import candidate_inputs
from normadvisor.targets.inputs.spec import DTYPES, Inputs, InputSpec, TensorSpec, parse_input

__all__ = ["DTYPES", "InputSpec", "Inputs", "TensorSpec", "candidate_inputs", "parse_input"]
