"""What a recorded step measures: hooks, norms of gradients, samples of activations; nothing of the model changes."""
