"""Optimized models in files, and back."""
