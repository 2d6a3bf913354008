"""What all fused operations share: when Triton runs, activations, memory formats, buffers, launch parameters."""
