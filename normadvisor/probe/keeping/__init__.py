"""The parts of a snapshot: tensors, attributes of objects, and the process.

Each part has ``restore()``, which puts it back, and ``differences()``, which names what is not as it was.
"""
