"""Inference on a CPU: whole models in the ways there are to make them faster."""
