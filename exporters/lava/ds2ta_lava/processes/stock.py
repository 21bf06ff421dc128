"""A population of Lava's own processes: ``Sparse`` holds the weights, ``LIFReset`` is the neuron.

Like its neighbour it imports nothing of this package: its numbers arrive as parameters (see ``stock.Recipe``).
"""

import numpy as np
from lava.magma.core.decorator import implements, tag
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.process import LIFReset
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import identity, kron


class StockPopulation(AbstractProcess):
    """A spiking linear population: it receives and sends ``[tokens, channels]``, one step late.

    Args:
        recipe: parameters of the two processes.
        receives: name of the value on its in-port.
        sends: name of the spikes on its out-port.
        shapes: of both.

    """

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.in_0 = InPort(shape=(int(np.prod(parameters["shapes"][0])),))
        self.s_out = OutPort(shape=(int(np.prod(parameters["shapes"][-1])),))


@implements(proc=StockPopulation, protocol=LoihiProtocol)
@tag("fixed_pt")
class StockPopulationModel(AbstractSubProcessModel):
    """Builds synapses and neurons; every token has its own copy of every weight, because synapses are not shared."""

    def __init__(self, proc):
        recipe = proc.proc_params["recipe"]
        tokens, channels = proc.proc_params["shapes"][-1]
        self.synapses = Sparse(
            weights=kron(identity(tokens, dtype=np.int32), recipe.weights, format="csr"),
            weight_exp=recipe.weight_exp,
            sign_mode=SignMode.MIXED,
            num_message_bits=8,
        )
        self.neurons = LIFReset(
            shape=(tokens * channels,),
            du=4095,
            dv=2048,
            bias_mant=np.tile(recipe.bias_mant, tokens),
            bias_exp=recipe.bias_exp,
            vth=recipe.vth,
            reset_interval=recipe.reset_interval,
            reset_offset=recipe.reset_offset,
        )
        proc.in_ports.in_0.connect(self.synapses.s_in)
        self.synapses.a_out.connect(self.neurons.a_in)
        self.neurons.s_out.connect(proc.out_ports.s_out)
