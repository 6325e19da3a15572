"""Spectra as bins: what lies in each of them."""

from nmrtk import Component, hookimpl


@hookimpl
def spectrum_codecs() -> list[Component]:
    """The codec of the seed paper, and one that resolves ppm."""
    return [
        Component(
            "binary-128",
            "nmrtk_binned.binary:BinaryCodec",
            "bits that say where lines are, 128 over the range of the nucleus",
        ),
        Component(
            "counts-128",
            "nmrtk_binned.counts:CountsCodec",
            "how many lines are where, at two knots for each bin of binary-128",
        ),
    ]
