"""Runtimes: each runs an artifact or a graph and returns a trace. They never import an exporter."""
