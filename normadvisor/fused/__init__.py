"""Normalizations fused with what stands beside them, as operations of torch and as layers; usable without the rest of the package."""
