"""Replaces parts of a model by faster ones that compute the same: found, proven equal, measured, and kept where they are faster."""
