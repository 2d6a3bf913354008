"""What a probe of a model costs, and how good its findings are."""
