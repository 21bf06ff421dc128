"""The leaf processes, one operating-system process each, and the hierarchy above them.

Lava's compiler executes this file several times under a name without a package, so it imports nothing of its
neighbours: what a process computes arrives as its parameter ``cell`` (see ``cell.Cell``).

Time-step contract: in every step a process receives one value on each in-port, computes, and sends one value;
there is no delay on a wire, so T model steps are T Lava steps. State is cleared before the first of every T steps.
A process that needs a whole chunk of time steps sends as many steps later, a stock process (``stock.py`` beside
this) one; everything behind it begins as much later.
"""

import traceback
from collections import deque

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


def flat(shape):
    """Return the shape of a value on the wire: one axis, as Lava's own synapses and neurons have it."""
    return (int(np.prod(shape)),)


class Encoder(AbstractProcess):
    """The first layer, outside the cores: reads pixels, sends spikes.

    Args of all leaves:
        cell: what it computes in one time step.
        time_steps: T.
        start: Lava steps that pass before its first model step (see ``schedule.Schedule``).
        delay: Lava steps by which it sends later than it receives.
        lags: steps for which each in-port holds back what arrives.
        steps: model steps of all samples together; before and after them it sends zeros.
        receives: names of the values on its in-ports.
        sends: name of the value on its out-port.
        shapes: shape of each in-port's value, then of the out-port's; on the wire all values are flat.
        record: name of a value -> (file, dtype, steps); what it computes of them is appended to the files.
        kept: name of an op's first output -> file; what the op remembers at a sample's end is appended to it.
        failures: directory into which it writes the traceback of whatever goes wrong.
        pixels: .npy file of all samples, sample first.
        still: whether a sample is one picture, shown at every step.

    """

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.s_out = OutPort(shape=flat(parameters["shapes"][-1]))


class Population1(AbstractProcess):
    """A population with one in-port: weights, temporal window, neuron (and pooling); or the readout."""

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.in_0 = InPort(shape=flat(parameters["shapes"][0]))
        self.s_out = OutPort(shape=flat(parameters["shapes"][-1]))


class Population2(AbstractProcess):
    """A population with two in-ports: what it weighs, and a residual that it adds to its spikes."""

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.in_0 = InPort(shape=flat(parameters["shapes"][0]))
        self.in_1 = InPort(shape=flat(parameters["shapes"][1]))
        self.s_out = OutPort(shape=flat(parameters["shapes"][-1]))


class Population3(AbstractProcess):
    """A population with three in-ports: attention's query, key and value."""

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.in_0 = InPort(shape=flat(parameters["shapes"][0]))
        self.in_1 = InPort(shape=flat(parameters["shapes"][1]))
        self.in_2 = InPort(shape=flat(parameters["shapes"][2]))
        self.s_out = OutPort(shape=flat(parameters["shapes"][-1]))


#: The class of a population with one in-port, with two, and so on.
POPULATIONS = (Population1, Population2, Population3)


class _LeafModel(PyLoihiProcessModel):
    """Receive, compute, record, send; a failure leaves its traceback in a file, because Lava would hide it and hang."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.parameters = proc_params
        self.files = {}
        self.queues: list[deque[np.ndarray]] = [deque() for _ in proc_params["lags"]]
        self.unsent: deque[np.ndarray] = deque()

    def run_spk(self):
        """Run one time step."""
        try:
            step = self.time_step - 1 - self.parameters["start"]
            arrived = self.receive(step)
            if 0 <= step < self.parameters["steps"]:
                sample, step_of_sample = divmod(step, self.parameters["time_steps"])
                self.unsent.extend(self.step(sample, step_of_sample, arrived))
            if 0 <= step - self.parameters["delay"] < self.parameters["steps"]:
                self.s_out.send(self.unsent.popleft().astype(np.int32).ravel())
            else:
                self.s_out.send(np.zeros(flat(self.parameters["shapes"][-1]), np.int32))
        except Exception:
            directory, name = self.parameters["failures"], self.parameters["sends"]
            partial = directory / f".{name}"
            partial.write_text(f"in the process that sends {name}, Lava step {self.time_step}\n{traceback.format_exc()}")
            partial.rename(directory / name)
            raise

    def receive(self, _step):
        """Return what is due of what arrived, by the values' names."""
        due = {}
        for port, name in enumerate(self.parameters["receives"]):
            queue = self.queues[port]
            queue.append(getattr(self, f"in_{port}").recv())
            if len(queue) > self.parameters["lags"][port]:
                due[name] = queue.popleft().reshape(self.parameters["shapes"][port])
        return due

    def step(self, sample, step, arrived):
        """Take one time step, the first of a sample with cleared state, and return what is to be sent of those that it completes."""
        cell, last = self.parameters["cell"], step == self.parameters["time_steps"] - 1
        if step == 0:
            cell.reset(sample)
        known = cell.advance(arrived)
        for name, (path, dtype, steps) in self.parameters["record"].items():
            series = known.get(name, [])
            for value in series if steps else series[-1:] if last else []:
                self.write(name, path, value.astype(dtype))
        if last and self.parameters["kept"]:
            remembered = cell.remembered()
            for name, path in self.parameters["kept"].items():
                self.write(f"{name} remembers", path, remembered[name])
        return cell.sent(known, self.parameters["sends"])

    def write(self, name, path, value):
        """Append integers to a file."""
        if name not in self.files:
            self.files[name] = path.open("ab", buffering=0)
        self.files[name].write(np.ascontiguousarray(value).tobytes())


@implements(proc=Encoder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class EncoderModel(_LeafModel):
    """Reads the pixels of the present sample from a file."""

    def receive(self, step):
        """Return the sample's picture, or its frame of this step; nothing behind the last sample."""
        if step >= self.parameters["steps"]:
            return {}
        if "pixels" not in self.files:
            self.files["pixels"] = np.load(self.parameters["pixels"], mmap_mode="r")
        number, step = divmod(step, self.parameters["time_steps"])
        sample = self.files["pixels"][number]
        return {self.parameters["receives"][0]: sample if self.parameters["still"] else sample[step]}


@implements(proc=Population1, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class Population1Model(_LeafModel):
    """One in-port."""

    in_0: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)


@implements(proc=Population2, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class Population2Model(_LeafModel):
    """Two in-ports."""

    in_0: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    in_1: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)


@implements(proc=Population3, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class Population3Model(_LeafModel):
    """Three in-ports."""

    in_0: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    in_1: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    in_2: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)


class Block(AbstractProcess):
    """A block of the network: its populations wired up, its in- and out-ports those of the values that cross its border.

    Args:
        leaves: (process class, parameters) of each population, in order.
        receives: name of a value that comes from outside -> its shape.
        sends: name of a value that others read -> its shape.

    """

    def __init__(self, **parameters):
        super().__init__(**parameters)
        for port, shape in enumerate(parameters["receives"].values()):
            setattr(self, f"in_{port}", InPort(shape=flat(shape)))
        for port, shape in enumerate(parameters["sends"].values()):
            setattr(self, f"out_{port}", OutPort(shape=flat(shape)))


@implements(proc=Block, protocol=LoihiProtocol)
@tag("fixed_pt")
class BlockModel(AbstractSubProcessModel):
    """Builds the populations."""

    def __init__(self, proc):
        parameters = proc.proc_params
        made: dict[str, OutPort] = {}
        for index, (kind, settings) in enumerate(parameters["leaves"]):
            leaf = kind(**settings)
            setattr(self, f"leaf_{index}", leaf)
            made.setdefault(settings["sends"], leaf.s_out)  # a recorder passes on what it hears, to nobody
            ports = [] if kind is Encoder else settings["receives"]
            for port, name in enumerate(ports):
                target = getattr(leaf, f"in_{port}")
                if name in made:
                    made[name].connect(target)
                else:
                    getattr(proc.in_ports, f"in_{list(parameters['receives']).index(name)}").connect(target)
        for port, name in enumerate(parameters["sends"]):
            made[name].connect(getattr(proc.out_ports, f"out_{port}"))


class SpikingTransformer(AbstractProcess):
    """The whole network; its out-port sends the logits of a sample in the last of its T steps, running sums before.

    Args:
        blocks: parameters of each block, in order.
        sends: name of the logits.
        shape: of the logits.

    """

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.logits_out = OutPort(shape=flat(parameters["shape"]))


@implements(proc=SpikingTransformer, protocol=LoihiProtocol)
@tag("fixed_pt")
class SpikingTransformerModel(AbstractSubProcessModel):
    """Builds the blocks."""

    def __init__(self, proc):
        made: dict[str, OutPort] = {}
        blocks = [(Block(**settings), settings) for settings in proc.proc_params["blocks"]]
        for index, (block, settings) in enumerate(blocks):
            setattr(self, f"block_{index}", block)
            made.update({name: getattr(block, f"out_{port}") for port, name in enumerate(settings["sends"])})
        for block, settings in blocks:
            for port, name in enumerate(settings["receives"]):
                made[name].connect(getattr(block, f"in_{port}"))
        made[proc.proc_params["sends"]].connect(proc.out_ports.logits_out)
