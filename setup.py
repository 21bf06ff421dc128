"""Builds the native library as part of the installation; everything else about the package stands in pyproject.toml.

The library has no Python in it: it is loaded with ctypes, so one wheel a platform serves every Python 3. Where there is no
working C compiler the installation succeeds without it, and ``ds2ta doctor`` says so.
"""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCES = Path("runtimes/native/src")
LIBRARY = "ds2ta_deploy.runtimes.native.libds2ta_native"
FLAGS = ["-std=gnu99", "-O3", "-fvisibility=hidden", "-pthread", "-Wno-psabi"]


class BuildLibrary(build_ext):
    """Names the library without Python's version, and asks for no init function."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return ``…/libds2ta_native.so``."""
        return str(Path(*fullname.split("."))) + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """Return nothing: the library says itself what it shows."""
        return []


class PlatformWheel(bdist_wheel):
    """A wheel for any Python 3 on this platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return ``py3-none-<platform>``."""
        return ("py3", "none", super().get_tag()[2])


setup(
    ext_modules=[
        Extension(
            LIBRARY,
            sources=sorted(str(path) for path in SOURCES.glob("*.c")),
            depends=sorted(str(path) for path in SOURCES.glob("*.h")),
            extra_compile_args=FLAGS,
            extra_link_args=["-pthread"],
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": PlatformWheel},
)
