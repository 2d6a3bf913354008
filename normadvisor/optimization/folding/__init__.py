"""Norms and constant factors taken into the weights of the layers beside them, and parallel layers into one."""
