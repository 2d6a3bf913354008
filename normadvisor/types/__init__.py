"""Plain data that every layer shares. Nothing here imports torch."""

from normadvisor.types.context import DISTRIBUTED, LOSSES, PRECISIONS, TASKS, RunContext
from normadvisor.types.finding import Applicability, Confidence, Edit, Finding, Fix, JSONValue, Severity, Suppression
from normadvisor.types.location import Frame, Location, Related, Site
from normadvisor.types.operation import Operation, OperationKind, Part
from normadvisor.types.ops import GROUPS, OPS, expand
from normadvisor.types.report import Problem, Report
from normadvisor.types.summary import ModelSummary, TraceKind

__all__ = [
    "DISTRIBUTED",
    "GROUPS",
    "LOSSES",
    "OPS",
    "PRECISIONS",
    "TASKS",
    "Applicability",
    "Confidence",
    "Edit",
    "Finding",
    "Fix",
    "Frame",
    "JSONValue",
    "Location",
    "ModelSummary",
    "Operation",
    "OperationKind",
    "Part",
    "Problem",
    "Related",
    "Report",
    "RunContext",
    "Severity",
    "Site",
    "Suppression",
    "TraceKind",
    "expand",
]
