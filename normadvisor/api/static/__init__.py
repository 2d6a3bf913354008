"""Checks files by reading them: script rules, the models defined in them, their comments. Nothing is imported or run.

Files are read by processes side by side, and what came of a file is kept in a cache until it, a file it depends on, a rule or a setting
changes.
"""
