"""How much each layer fires, and when."""

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.pages.figures.rasters import raster
from ds2ta_deploy.pages.observation import Observation
from ds2ta_deploy.pages.parts import Code, Gallery, Section, Table, percent, share_bar
from ds2ta_deploy.parity import FIRING_LIMITS

#: Time steps whose rates have a column each.
_MOST_STEPS = 16


def activity(graph: Graph, observed: Observation) -> Section:
    """Show rates over all samples and the spikes of one."""
    steps = max((len(counts) for counts in observed.spikes.values()), default=0)
    shown = min(steps, _MOST_STEPS)
    rows = tuple(
        (
            Code(name),
            neurons := observed.fired[name].size,
            share_bar(observed.rate(name)),
            *_steps(observed, name, shown),
            _quiet(observed, name, neurons),
        )
        for name in observed.spikes
    )
    columns = ("layer", "neurons", "rate", *(f"t={step}" for step in range(shown)), "never fired")
    low, high = FIRING_LIMITS
    pictures = tuple(raster(name, observed.trace[name]) for name in observed.spikes)
    return Section(
        "activity",
        "Spikes",
        f"How much each layer fires, over {observed.samples} samples. Outside {percent(low)} to {percent(high)} a comparison says little.",
        (
            Table("Firing rates", columns, rows),
            Gallery(
                f"Spikes of sample {observed.sample}",
                "A row is a time step, a column a neuron, in the order of the layer's channels and places.",
                pictures,
                size="wide",
            ),
        ),
    )


def _steps(observed: Observation, name: str, shown: int) -> tuple[str | None, ...]:
    places = observed.samples * observed.fired[name].size
    rates = [percent(int(count) / places) for count in observed.spikes[name][:shown]]
    return (*rates, *[None] * (shown - len(rates)))


def _quiet(observed: Observation, name: str, neurons: int) -> str:
    quiet = neurons - int(observed.fired[name].sum())
    return f"{quiet:,} ({percent(quiet / neurons)})"
