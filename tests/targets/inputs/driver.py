"""Drives the search for inputs with a plain forward pass."""

from __future__ import annotations

import torch

from normadvisor.targets.inputs import candidate_inputs, parse_input
from normadvisor.types import RunContext


def find(model, *specs, context=None):
    """The accepted inputs and the number of trials."""
    search = candidate_inputs(model, [parse_input(text) for text in specs], context or RunContext())
    inputs, trials = next(search), 1
    while True:
        try:
            with torch.no_grad():
                model(*inputs.args, **inputs.kwargs)
        except Exception as error:  # noqa: BLE001 -- what any model raises goes back into the search
            inputs = search.send(error)
            trials += 1
        else:
            return inputs, trials
