"""Writes the fix of a traced model into its source: every edit spans exactly what changes."""

from normadvisor.rewrite.source.place import Refused, SourceFiles, WriteContext
from normadvisor.rewrite.source.writer import write_source

__all__ = ["Refused", "SourceFiles", "WriteContext", "write_source"]
