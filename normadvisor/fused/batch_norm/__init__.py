"""BatchNorm, what is added to it and its activation as one operation: in training and in evaluation, forward and backward."""
