"""Exporters: an integer graph becomes files for one target. They import the graph; never PyTorch, never a runtime."""
