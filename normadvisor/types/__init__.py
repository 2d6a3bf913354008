"""Plain data that every layer shares. Nothing here imports torch."""

from normadvisor.types.context import DISTRIBUTED, LOSSES, PRECISIONS, TASKS, RunContext
from normadvisor.types.finding import Applicability, Confidence, Edit, Finding, Fix, JSONValue, Severity, Suppression
from normadvisor.types.location import Frame, Location, Related, Site
from normadvisor.types.measurements import (
    CURVES,
    LAYER_FACTS,
    LAYER_SERIES,
    RUN_FACTS,
    RUN_SERIES,
    LayerMeasurements,
    Measurements,
    Series,
    Withdrawn,
)
from normadvisor.types.operation import Operation, OperationKind, Part
from normadvisor.types.ops import GROUPS, OPS, expand
from normadvisor.types.optimization import Optimization, OptimizeOptions
from normadvisor.types.probing import PROBE_DEVICES, PROBE_OPTIMIZERS, ProbeOptions
from normadvisor.types.report import Problem, Report
from normadvisor.types.summary import ModelSummary, TraceKind

__all__ = [
    "CURVES",
    "DISTRIBUTED",
    "GROUPS",
    "LAYER_FACTS",
    "LAYER_SERIES",
    "LOSSES",
    "OPS",
    "PRECISIONS",
    "PROBE_DEVICES",
    "PROBE_OPTIMIZERS",
    "RUN_FACTS",
    "RUN_SERIES",
    "TASKS",
    "Applicability",
    "Confidence",
    "Edit",
    "Finding",
    "Fix",
    "Frame",
    "JSONValue",
    "LayerMeasurements",
    "Location",
    "Measurements",
    "ModelSummary",
    "Operation",
    "OperationKind",
    "Optimization",
    "OptimizeOptions",
    "Part",
    "ProbeOptions",
    "Problem",
    "Related",
    "Report",
    "RunContext",
    "Series",
    "Severity",
    "Site",
    "Suppression",
    "TraceKind",
    "Withdrawn",
    "expand",
]
