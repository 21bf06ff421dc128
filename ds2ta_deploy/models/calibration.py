"""Random networks that fire: for tests, benchmarks and trying a target before there is a checkpoint.

A freshly initialised spiking transformer is silent in evaluation mode, and comparing silence with
silence proves nothing. Here the batch norms get the statistics of real activations, and biases are
raised so that every layer fires, the attention included.
"""

import torch
from torch import nn

from ds2ta_deploy.models.config import Ds2taConfig
from ds2ta_deploy.models.ds2ta import Ds2ta
from ds2ta_deploy.synthetic import synthetic_pixels

#: Added to the batch norms of queries, keys and values; with input decay the attention neuron needs tau_m times as much.
_QUERY_KEY_VALUE_BIAS = {False: 0.25, True: 0.6}


def random_network(config: Ds2taConfig, seed: int = 0, *, batch: int = 8) -> Ds2ta:
    """Return a network with random weights whose every layer fires.

    Args:
        config: the architecture.
        seed: of weights and calibration pictures.
        batch: pictures used to calibrate the batch norms.

    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Ds2ta(config)
        norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)}
        with torch.no_grad():
            for name, norm in norms.items():
                norm.momentum = None  # running statistics become the plain mean over all batches seen
                norm.weight.uniform_(0.8, 1.2)
                norm.bias.uniform_(-0.2, 0.2)
                if name.rsplit(".", 2)[-2] in ("q", "k", "v"):
                    norm.bias.add_(_QUERY_KEY_VALUE_BIAS[config.decay_input])
                if config.decay_input:  # the same neuron with tau_m times the threshold
                    norm.weight.mul_(config.membrane_time_constant)
                    norm.bias.mul_(config.membrane_time_constant)
            for name, parameter in model.named_parameters():
                if name.endswith("window.decay"):
                    parameter.copy_(torch.randint(min(1, config.initial_decay), config.initial_decay + 1, ()))
            model.train()
            shape = tuple(batch if size is None else size for size in config.input_shape)
            model(torch.from_numpy(synthetic_pixels(config.input_kind, shape, seed)))
    return model.eval()
