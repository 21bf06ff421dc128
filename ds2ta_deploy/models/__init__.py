"""The PyTorch models: neurons, layers, attention, one file a family."""
