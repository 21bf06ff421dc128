"""Writes ``docs/schema/``: the JSON schemas of an artifact's report and manifest, from the types that read and write them.

    python docs/tools/write_schemas.py

The files are committed; a test compares them with the types.
"""

import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from ds2ta_deploy.artifact import Manifest
from ds2ta_deploy.report import Report

FOLDER = Path(__file__).parents[1] / "schema"

#: File -> type.
SCHEMAS: dict[str, Any] = {"manifest.schema.json": Manifest, "report.schema.json": Report}


def schema(kind: Any) -> str:
    """Return the schema of a type, draft 2020-12."""
    written = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | _evened(msgspec.json.schema(kind))
    return json.dumps(written, indent=2, sort_keys=True) + "\n"


def _evened(part: Any) -> Any:
    """Take the indentation off docstrings, as Python itself does from 3.13 on: the same schema on every version."""
    match part:
        case dict():
            return {name: inspect.cleandoc(value) if name == "description" else _evened(value) for name, value in part.items()}
        case list():
            return [_evened(value) for value in part]
        case _:
            return part


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, kind in SCHEMAS.items():
        (FOLDER / name).write_text(schema(kind), encoding="utf-8")
