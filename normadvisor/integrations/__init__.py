"""Where people train and test: a context manager for plain loops, callbacks of Lightning and transformers, a pytest plugin.

Each module imports the library it is made for; import the one you need.
"""
