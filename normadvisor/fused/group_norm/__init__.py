"""GroupNorm with the activation behind it, forward and backward in kernels that read the input as seldom as possible."""
