"""``python -m ds2ta_lava INPUTS.npz TRACE.npz``: run the network beside this package and write what it computed."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import remembering, stepper, supervisor
from .arithmetic import NetworkError
from .network import Network, read_network

Trace = dict[str, NDArray[np.integer[Any]]]

#: Exit code of each way in which a run can end early; 0 is success, 2 a wrong command line.
EXIT_CODES = {"invalid": 3, "missing": 4, "raised": 5, "died": 6, "deadline": 7, "failed": 8}

_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m ds2ta_lava", description="Run an exported spiking transformer.")
    parser.add_argument("inputs", type=Path, help=".npz file with uint8 'images' [B, H, W, C] or 'frames' [T, B, H, W, C]")
    parser.add_argument("trace", type=Path, help=".npz file to write, one array a value")
    parser.add_argument("--engine", choices=["lava", "stepper"], default="lava", help="Lava's simulator, or plain NumPy")
    parser.add_argument("--values", nargs="*", help="names of the values to write; by default spikes, counts and logits")
    parser.add_argument("--deadline", type=float, default=600.0, help="seconds after which Lava is given up (default 600)")
    parser.add_argument("--network", type=Path, default=Path(__file__).resolve().parent.parent, help="directory of graph.json")
    parser.add_argument("--parent", type=int, help="give up when the process of this number no longer is the one that started this")
    parser.add_argument("--begin", type=Path, help="go on from what an earlier run left in this file")
    parser.add_argument("--keep", type=Path, help="write what the run leaves behind; with it, inputs are frames [T, B, H, W, C] of any T")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        network = read_network(options.network)
        with np.load(options.inputs, allow_pickle=False) as file:
            inputs = file[network.input_name]
        wanted = network.populations if options.values is None else options.values
        network.check_wanted(wanted)
        framed = remembering.over_frames(network, len(inputs)) if options.begin or options.keep else network
        framed.arrange(inputs[:, :1] if not framed.still and inputs.ndim > 1 else inputs[:1])
        if options.engine == "lava":
            files = {"begin": options.begin, "keep": options.keep}
            trace = supervisor.run(options.network, inputs, wanted, deadline=options.deadline, parent=options.parent, **files)
        elif framed is network:
            trace = stepper.run(network, inputs, wanted)
        else:
            trace = _step_on(framed, inputs, wanted, options.begin, options.keep)
    except supervisor.WorkerError as error:
        return _fail(error.kind, str(error))
    except (NetworkError, KeyError, OSError, ValueError, EOFError) as error:
        return _fail("invalid", f"{type(error).__name__}: {error}")
    except (ArithmeticError, IndexError) as error:
        return _fail("raised", f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return _INTERRUPTED
    with options.trace.open("wb") as target:
        np.savez(target, **trace)  # type: ignore[arg-type]
    return 0


def _step_on(network: Network, frames: NDArray[Any], wanted: Sequence[str], begin: Path | None, keep: Path | None) -> Trace:
    taken, remembered = remembering.read(begin) if begin else (0, {})
    cells = remembering.cells(network, remembered, taken, None)
    trace = stepper.run(network, frames, wanted, cells)
    if keep:
        left = {name: array for cell in cells.values() for name, array in cell.remembered().items()}
        remembering.write(keep, taken + network.time_steps, left)
    return trace


def _fail(kind: str, text: str) -> int:
    sys.stderr.write(f"{kind}: {text}\n")
    return EXIT_CODES[kind]


def _terminate(_number: int, _frame: FrameType | None) -> None:
    """End as if interrupted, so that the worker is cleared away first."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
