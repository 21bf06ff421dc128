"""Lets lava-nc 0.10.0 be imported on Python 3.11 and later, without touching its installed files.

One dataclass of Lava has a mutable instance as its default. Python 3.11 rejects what has no hash there; the
hook adds ``unsafe_hash=True`` to that class while its module is being read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

_MODULE = "lava.magma.compiler.var_model"
_FOUND, _MENDED = b"@dataclass\nclass ByteEncoder", b"@dataclass(unsafe_hash=True)\nclass ByteEncoder"


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """Compile the mended source, past the cache of compiled files."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path).replace(_FOUND, _MENDED), path)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Take over the one module."""
        if fullname != _MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Install the hook where it is needed; more often than once does no harm."""
    if sys.version_info >= (3, 11) and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
