"""Measurements run by hand; each package here is one command that prints a table. Results are kept in ``results/``."""
