"""Residual sums that a layer computes itself: it adds its currents to what is there already, and the sum takes no turn of its own."""

from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.steps import Step, Translation

_LAYERS = (library.ENCODE, library.LINEAR, library.CONV)


def add_in_place(translation: Translation) -> None:
    """Let every layer whose currents only a residual sum reads make the sum, where the other summand is there before."""
    for total in [step for step in translation.steps if step.kind == library.SUM]:
        _try(translation, total)


def _try(translation: Translation, total: Step) -> None:
    steps, memory = translation.steps, translation.memory_of
    makers = {step.output: index for index, step in enumerate(steps)}
    places = [makers[memory(name)] for name in total.inputs]
    for mine, other in ((1, 0), (0, 1)):
        layer, summand = steps[places[mine]], total.inputs[other]
        current = layer.output
        readers = [step for step in steps for name in step.inputs if name and memory(name) == current]
        views = [name for name in translation.alias if memory(name) == current and not name.rsplit(".", 1)[-1].startswith("_")]
        if layer.kind not in _LAYERS or views or len(readers) != 1 or places[other] >= places[mine]:
            continue
        inputs = (*layer.inputs, "", "", "")
        layer.inputs = (inputs[0], inputs[1], summand)
        layer.inner["current"] = current
        layer.output = total.output
        steps.remove(total)
        return
