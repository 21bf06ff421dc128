"""Checkpoints of other projects: containers, published key names, and what tensors do not tell."""
