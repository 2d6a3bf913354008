"""BatchNorm converted to GroupNorm in whole zoos, beside what Opacus does."""
