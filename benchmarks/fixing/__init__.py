"""Every fix on model files with planted mistakes: how many are mended, how many are proven, and what is left of the text."""
