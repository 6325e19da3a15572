"""One pair of additive couplings with small dense networks."""

from nmrtk import Component, hookimpl


@hookimpl
def invertible_backbones() -> list[Component]:
    return [
        Component(
            "example",
            "nmrtk_example.backbone:CouplingBackbone",
            "One pair of additive couplings with small dense networks",
        )
    ]
