"""Fused modules in the place of norms, activations, additions and gates that run one after the other (NA702, NA703)."""
