"""The memory format of a model: where the channels of a map stand in memory."""
