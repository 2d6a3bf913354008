"""What reports of measurements share, whatever they are drawn with: numbers as words, health of layers, depth, differences of two runs."""
