"""A process that steps through frames, from a state or from the beginning, puts its state aside and waits to be killed."""

import sys
from pathlib import Path

import numpy as np

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.runtimes.run_state import read_state, write_state
from ds2ta_deploy.runtimes.table import open_stepper

#: Said when the state is on the disk.
SAVED = "saved"


def main(runtime: str, artifact: str, folder: Path, begin: int, end: int) -> None:
    """Step through the frames ``begin`` to ``end`` of ``frames.npy``; go on from ``state`` unless they are the first."""
    frames = np.load(folder / "frames.npy")
    run = open_stepper(runtime, Artifact.open(artifact), frames.shape[1])
    if begin:
        run.resume(read_state(folder / "state", run.form))
    run.steps(frames[begin:end])
    np.save(folder / "logits.npy", run.logits())
    write_state(folder / "state", run.state(), run.form)
    print(SAVED, flush=True)
    sys.stdin.read()  # the state in memory is still there when the process is killed, and nothing else saves it


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
