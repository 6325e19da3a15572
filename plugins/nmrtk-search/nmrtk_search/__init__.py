"""Generators of candidates: what features decode to, and what stands in a library."""

from nmrtk import Component, hookimpl


@hookimpl
def candidate_generators() -> list[Component]:
    """Decoding of drawn features, and search of a library."""
    return [
        Component(
            "library",
            "nmrtk_search.library:LibraryGenerator",
            "structures of a library whose features or codes are nearest to the spectrum's",
        ),
        Component(
            "decode",
            "nmrtk_search.decode:DecodeGenerator",
            "molecules that drawn features decode to, where the encoder is lossless",
        ),
    ]
