"""Where and when something was measured, and with what; how it is written down."""

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec

_ENGINES = ("ds2ta-deploy", "numpy", "onnxruntime", "openvino", "torch")


class Machine(msgspec.Struct):
    """Where, when, with which versions."""

    processor: str
    cores: int
    system: str
    date: str
    versions: dict[str, str]

    def __str__(self) -> str:
        """Return a sentence."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.date}, {self.processor}, {self.cores} cores, {self.system}; {versions}."


def machine() -> Machine:
    """Describe this machine."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    installed = {distribution.name.lower() for distribution in metadata.distributions()}
    return Machine(
        processor=names[0] if names else platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        date=datetime.now(UTC).date().isoformat(),
        versions={name: metadata.version(name) for name in _ENGINES if name in installed},
    )


def write(measured: msgspec.Struct, path: Path) -> None:
    """Write what was measured as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=2) + b"\n")
