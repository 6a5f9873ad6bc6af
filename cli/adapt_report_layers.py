"""BatchNorm layers: what a few of them put out at each camera, and which of them moved most."""

from __future__ import annotations

from collections.abc import Mapping

from cli.drawings import Range, bar, before_and_after, range_of
from cli.markup import Markup, joined, tag

Output = Mapping[str, float]  # mean_before, variance_before, mean_after, variance_after
_MODEL = {"mean": 0.0, "variance": 1.0}  # what comes out for the crops that the model was trained with


def outputs(by_layer: Mapping[str, Mapping[str, Output]] | None) -> Markup:
    """A table for each layer, all on one scale of means and one of variances."""
    if not by_layer:
        return Markup()
    every = [output for of_camera in by_layer.values() for output in of_camera.values()]
    shown = {
        name: range_of([*(one[f"{name}_{side}"] for one in every for side in ("before", "after")), model])
        for name, model in _MODEL.items()
    }
    explanation = (
        "What a layer puts out for each camera's crops, over its channels, before and after tier 1: the root "
        "mean square of their means, and the mean of their variances. For the crops that the model was "
        "trained with these are 0 and 1, where the lines are. Ring before, dot after. The layers before it "
        "normalise by the camera's own crops here, so each shows what it adds itself. Shown are those whose "
        "means the cameras move most, in the network's order."
    )
    tables = [_layer(name, of_camera, shown) for name, of_camera in by_layer.items()]
    return joined(tag("h2", "What BatchNorm layers put out"), tag("p", explanation, class_="soft"), *tables)


def change_rates(by_parameter: Mapping[str, Mapping[str, float]] | None) -> Markup:
    """A table for each parameter that moved, with bars on a scale of its own."""
    moved = {name: layers for name, layers in (by_parameter or {}).items() if layers}
    if not moved:
        return Markup()
    explanation = (
        "How far the values of a layer moved from the model's own: the sum of what its channels moved over "
        "the sum of their values before, both without sign. The layers that moved most, for each parameter."
    )
    tables = [_rates(name, layers) for name, layers in moved.items()]
    return joined(tag("h2", "Which BatchNorm layers moved"), tag("p", explanation, class_="soft"), *tables)


def _layer(name: str, of_camera: Mapping[str, Output], shown: Mapping[str, Range]) -> Markup:
    heads = [tag("th", "camera")]
    for parameter in _MODEL:
        heads += [tag("th", f"{parameter}s", class_="half"), tag("th", "before, after", class_="number")]
    rows = [_output(camera, output, shown) for camera, output in of_camera.items()]
    return tag("div", tag("h3", tag("code", name)), tag("table", tag("tr", *heads), *rows), class_="wide")


def _output(camera: str, output: Output, shown: Mapping[str, Range]) -> Markup:
    cells = []
    for name, model in _MODEL.items():
        before, after = output[f"{name}_before"], output[f"{name}_after"]
        cells.append(tag("td", before_and_after(before, after, shown[name], model), class_="half"))
        cells.append(tag("td", f"{before:.2f}, {after:.2f}", class_="number"))
    return tag("tr", tag("td", tag("bdi", camera) if camera else tag("i", "whole site")), *cells)


def _rates(parameter: str, layers: Mapping[str, float]) -> Markup:
    most = max(layers.values())
    rows = [
        tag(
            "tr",
            tag("td", tag("code", layer)),
            tag("td", bar(rate, most), class_="mark"),
            tag("td", _percent(rate), class_="number"),
        )
        for layer, rate in layers.items()
    ]
    return joined(tag("h3", parameter), tag("table", *rows))


def _percent(rate: float) -> str:
    return f"{100 * rate:.0f} %" if rate >= 0.1 else f"{100 * rate:.3g} %"
