"""How many models of the zoos are traced, how completely, and how fast."""
