"""Molecules as adjacency matrices."""

from nmrtk import Component, hookimpl


@hookimpl
def structure_encoders() -> list[Component]:
    """The encoder of the seed paper."""
    return [
        Component(
            "adjacency",
            "nmrtk_adjacency.encoder:AdjacencyEncoder",
            "bonds of up to 17 heavy atoms as 4 x 16 x 16 zeros and ones; decodes",
        )
    ]
