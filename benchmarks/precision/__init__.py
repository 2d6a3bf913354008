"""What the rules say about good architectures: every error and warning, with the judgement of a reader."""
