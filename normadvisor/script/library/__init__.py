"""What torch and its neighbours do to the values of the interpreter."""
