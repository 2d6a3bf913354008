"""What ``normadvisor check`` costs: wall time and memory, against the least any tool could need, and against model size."""
