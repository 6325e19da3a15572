"""Bijections from the flow library zuko."""

from nmrtk import Component, hookimpl


@hookimpl
def invertible_backbones() -> list[Component]:
    """Affine coupling."""
    return [
        Component(
            "zuko-affine",
            "nmrtk_zuko.affine:AffineBackbone",
            "affine coupling blocks of the library zuko, conditioned, with their log-determinant",
        ),
    ]
