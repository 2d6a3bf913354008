"""Norms, activations and attention that are written out, and the functions of torch that compute the same in one call."""
