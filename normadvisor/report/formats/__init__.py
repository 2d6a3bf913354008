"""One module per format: ``<name>_format.py`` with ``render(report, options) -> str``."""
