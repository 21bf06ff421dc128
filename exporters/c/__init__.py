"""C99 for microcontrollers: the network, its constants, a self-test with golden vectors, build files, a README."""

from ds2ta_deploy.exporters.c.files import to_c

__all__ = ["to_c"]
