"""The abstract interpreter of Python: executes scripts path by path on values that stand for what they would compute."""
