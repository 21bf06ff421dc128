"""Runs an exported spiking transformer from ``graph.json`` and ``tensors.npz``, on Lava or on NumPy alone.

The package travels with every export and needs nothing else of the tool that wrote it: Python 3.10 or
later, NumPy, and lava-nc for ``--engine lava``. Its modules import each other relatively, because it is at
home wherever it is copied.
"""
