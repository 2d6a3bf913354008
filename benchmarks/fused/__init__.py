"""What replacing parts of models by fused ones gains: on a CPU, on a GPU, and whether all that can be folded is."""
