"""Lava: a process graph for Loihi-style chips, as data, with a small package that runs it on Lava or on NumPy."""

from ds2ta_deploy.exporters.lava.files import to_lava

__all__ = ["to_lava"]
