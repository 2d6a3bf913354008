"""Optimized models in files, and back."""

from normadvisor.optimization.saving.load import load
from normadvisor.optimization.saving.save import SUFFIXES, save

__all__ = ["SUFFIXES", "load", "save"]
