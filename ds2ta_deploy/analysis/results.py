"""What an analysis found: exact counts that add up over samples, and the weights' errors."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerFlips:
    """How the spikes of one population change.

    A flip is a spike that only one of the two networks fires. Each runs on from its own spikes, so that flips of earlier
    layers are among the reasons for those of later ones.

    Attributes:
        name: of the spikes.
        compared: neurons times time steps times samples.
        flips: how many of them differ.
        float_spikes: how many spikes the trained network fires.
        integer_spikes: how many the network on the grid fires.

    """

    name: str
    compared: int
    flips: int
    float_spikes: int
    integer_spikes: int

    def __add__(self, other: "LayerFlips") -> "LayerFlips":
        """Add the counts of other samples."""
        return LayerFlips(
            self.name,
            self.compared + other.compared,
            self.flips + other.flips,
            self.float_spikes + other.float_spikes,
            self.integer_spikes + other.integer_spikes,
        )


@dataclass(frozen=True)
class Effect:
    """What a network with some layers on the grid does differently from the trained one.

    Attributes:
        spike_flips: of the spikes that the layer in question is first seen in.
        all_spike_flips: of all spikes of the network.
        same_decisions: samples for which both choose the same class.
        correct: samples whose class is the label; None without labels.

    """

    spike_flips: int = 0
    all_spike_flips: int = 0
    same_decisions: int = 0
    correct: int | None = None

    def __add__(self, other: "Effect") -> "Effect":
        """Add count to count."""
        correct = None if self.correct is None or other.correct is None else self.correct + other.correct
        return Effect(
            self.spike_flips + other.spike_flips,
            self.all_spike_flips + other.all_spike_flips,
            self.same_decisions + other.same_decisions,
            correct,
        )


@dataclass(frozen=True)
class LayerAnalysis:
    """One layer on the grid.

    Attributes:
        name: of the layer.
        spikes: name of the spikes that its error is first seen in; None for the readout.
        weight_error: ``|W u - W'| / |W'|``; None without weights.
        alone: this layer is on the grid, all others are as trained.
        cumulative: this layer and all before it are.

    """

    name: str
    spikes: str | None
    weight_error: float | None
    alone: Effect
    cumulative: Effect


@dataclass(frozen=True)
class Analysis:
    """What the grid costs a network on some samples.

    Attributes:
        samples: number of inputs.
        correct: how many the trained network gets right; None without labels.
        layers: in the order in which the network runs them; the last one's cumulative effect is that of the whole grid.
        populations: all spikes, of the trained network and of the one on the grid.

    """

    samples: int
    correct: int | None
    layers: tuple[LayerAnalysis, ...]
    populations: tuple[LayerFlips, ...]

    @property
    def compared(self) -> dict[str, int]:
        """Number of spikes, fired or not, by the name of the population."""
        return {population.name: population.compared for population in self.populations}

    @property
    def activation_sparsity(self) -> float:
        """Share of neurons and steps of the network on the grid without a spike."""
        fired = sum(population.integer_spikes for population in self.populations)
        return 1.0 - fired / sum(population.compared for population in self.populations)


def merge(analyses: list[Analysis]) -> Analysis:
    """Add up analyses of one network on different samples."""
    first, *others = analyses
    for other in others:
        layers = tuple(
            LayerAnalysis(one.name, one.spikes, one.weight_error, one.alone + two.alone, one.cumulative + two.cumulative)
            for one, two in zip(first.layers, other.layers, strict=True)
        )
        populations = tuple(one + two for one, two in zip(first.populations, other.populations, strict=True))
        correct = None if first.correct is None or other.correct is None else first.correct + other.correct
        first = Analysis(first.samples + other.samples, correct, layers, populations)
    return first
