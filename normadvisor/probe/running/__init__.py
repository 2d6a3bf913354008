"""What a probe runs: batches, losses, steps, and what is measured beside them."""
