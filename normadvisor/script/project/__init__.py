"""The checked code as a project: its files, what their imports mean, its classes, and which layers those hold."""

from __future__ import annotations

from normadvisor.script.project.classes import ClassInfo
from normadvisor.script.project.modules import Project, Resolved, SourceModule

__all__ = ["ClassInfo", "Project", "Resolved", "SourceModule"]
