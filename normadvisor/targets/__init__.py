"""From what the user names to a built model with inputs: parse, discover, load, build, infer inputs.

Every step is a module of its own and is imported from there: reading a script needs nothing of what building a model does. ``load``,
``build`` and ``inputs`` import torch when they are used, and run the target's code; the others read.
"""
