"""The integer graph: plain data, no PyTorch. Ops, graph, range proof, populations, serialization."""
