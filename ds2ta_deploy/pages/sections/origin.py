"""What was exported, from what, with which hashes."""

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.pages.parts import Block, Code, Section, Table, Text
from ds2ta_deploy.report import Report


def origin(artifact: Artifact, report: Report) -> Section:
    """Say what the artifact is made from and of."""
    manifest = artifact.manifest
    checkpoint = manifest.checkpoint
    blocks: tuple[Block, ...] = (
        Text("Not exported from a file." if checkpoint is None else f"Exported from a checkpoint of {checkpoint.size:,} bytes."),
        Table(
            "Facts",
            ("", ""),
            (
                ("target", manifest.target + (", functions expanded" if manifest.inline else "")),
                *((("checkpoint, SHA-256", Code(checkpoint.sha256)),) if checkpoint is not None else ()),
                ("manifest's seal, SHA-256", Code(manifest.seal))
                if manifest.seal
                else ("manifest's seal", "not sealed yet: this page is part of it"),
                ("written with", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())),
                *((name.replace("_", " "), f"{value}") for name, value in report.facts.items() if value != ""),
            ),
        ),
        Table(
            "Configuration of the model",
            ("field", "value"),
            tuple((name, f"{value}") for name, value in manifest.config.items()),
            folded=True,
        ),
        Table(
            "Files",
            ("file", "bytes", "SHA-256"),
            tuple((Code(name), entry.size, Code(entry.sha256)) for name, entry in manifest.files.items()),
            folded=True,
        ),
        *_modified(artifact),
    )
    return Section("origin", "Origin", "What was exported, from what, and the hashes that identify it.", blocks)


def _modified(artifact: Artifact) -> tuple[Text, ...]:
    if not artifact.modified:
        return ()
    return (Text(f"These files are not the ones that were exported: {', '.join(artifact.modified)}."),)
