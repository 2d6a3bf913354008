"""Whether a changed model computes the same function, and with how much rounding."""
