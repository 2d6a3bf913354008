"""Healthy networks, the odd ones included; importing this registers them all."""

from benchmarks.probe.diagnosis.families import attention, convolution, dense, generative, odd, recurrent, residual, unseen

__all__ = ["attention", "convolution", "dense", "generative", "odd", "recurrent", "residual", "unseen"]
