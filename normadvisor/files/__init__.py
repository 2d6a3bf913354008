"""Reading source files: Python files and notebooks, and the folders that hold them. Nothing here imports torch or runs what it reads."""
