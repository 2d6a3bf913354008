"""Convolution, addition and activation in one operation of oneDNN, on a CPU."""
