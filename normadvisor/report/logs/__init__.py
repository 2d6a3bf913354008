"""Measured numbers, written where other tools plot them: a CSV file, TensorBoard, Weights & Biases.

A place is named ``KIND`` or ``KIND:PLACE``, for example ``csv:run.csv``, ``tensorboard:runs/first`` or ``wandb:my-project``. A kind is one
module ``<kind>_log.py`` with functions ``check(place)`` and ``start(place, *, fresh)``; putting it there is all it takes to offer it. The
modules, and the packages they need, are imported when the kind is asked for and not before.
"""

from __future__ import annotations

from normadvisor.report.logs.registry import Destination, Log, destination, log_kinds, log_measurements, start_log
from normadvisor.report.logs.step import StepNumbers, steps_of

__all__ = ["Destination", "Log", "StepNumbers", "destination", "log_kinds", "log_measurements", "start_log", "steps_of"]
