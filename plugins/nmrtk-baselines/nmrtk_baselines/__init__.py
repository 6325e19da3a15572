"""Baselines: what a model must beat before its figures mean anything."""

from __future__ import annotations

from nmrtk import Component, hookimpl


@hookimpl
def baselines() -> list[Component]:
    """The four baselines of this plugin."""
    return [
        Component(
            "mean",
            "nmrtk_baselines.mean:MeanBaseline",
            "Frequency of each bin in training, and lines spread as all are",
        ),
        Component(
            "nearest",
            "nmrtk_baselines.nearest:NearestBaseline",
            "Spectra of the nearest molecules by Morgan fingerprint",
        ),
        Component(
            "linear",
            "nmrtk_baselines.linear:LinearBaseline",
            "Ridge regression on Morgan counts",
        ),
        Component(
            "hose",
            "nmrtk_baselines.hose:HoseBaseline",
            "Median shift of like atom environments",
        ),
    ]
