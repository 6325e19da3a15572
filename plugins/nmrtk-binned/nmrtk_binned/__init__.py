"""Spectra as bins that hold a line or not."""

from nmrtk import Component, hookimpl


@hookimpl
def spectrum_codecs() -> list[Component]:
    """The codec of the seed paper."""
    return [
        Component(
            "binary-128",
            "nmrtk_binned.codec:BinaryCodec",
            "bits of 1.6 ppm that say where lines are, 128 from 0 ppm for 13C",
        )
    ]
