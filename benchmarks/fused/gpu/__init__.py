"""Fused operations on a GPU, beside eager, ``torch.compile`` and other packages: share of its bandwidth, and whole training steps."""
