"""What a page is made with: Jinja2 for the text, matplotlib for the pictures. Both are optional."""

import importlib.util
from importlib import metadata

from ds2ta_deploy.errors import MissingRuntimeError, Problem

INSTALL = "pip install 'ds2ta-deploy[report]'"

#: Module -> the distribution that has it.
_LIBRARIES = {"jinja2": "Jinja2", "matplotlib": "matplotlib"}


def require_page_libraries() -> None:
    """Raise MissingRuntimeError (DS2TA-408) with the installing command when one of them is absent."""
    missing = [name for module, name in _LIBRARIES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingRuntimeError(Problem("DS2TA-408", f"an HTML report needs {' and '.join(missing)}", mend=INSTALL))


def page_versions() -> dict[str, str]:
    """Versions of what decides a page's bytes."""
    return {name.lower(): metadata.version(name) for name in _LIBRARIES.values()}
