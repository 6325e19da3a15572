"""Bijections built of additive coupling blocks."""

from nmrtk import Component, hookimpl


@hookimpl
def invertible_backbones() -> list[Component]:
    """The seed's convolutional stages, and blocks on plain vectors, of reals or of a lattice."""
    return [
        Component(
            "irevnet",
            "nmrtk_irevnet.stages:StagedBackbone",
            "the seed's convolutional stages on 4 x 16 x 16 features, unconditioned",
        ),
        Component(
            "irevnet-flat",
            "nmrtk_irevnet.flat:FlatBackbone",
            "coupling blocks on vectors of any width, conditioned, memory free of the depth",
        ),
        Component(
            "irevnet-exact",
            "nmrtk_irevnet.exact:ExactBackbone",
            "the same on a lattice: the round trip is exact to the last bit",
        ),
    ]
