"""The steps of quantization, one module a part of the network."""
