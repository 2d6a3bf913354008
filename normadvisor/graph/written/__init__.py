"""Finds operations that are written out in terms of smaller ones, by what they compute rather than by how they are spelled."""

from normadvisor.graph.written.model import Written

__all__ = ["Written"]
