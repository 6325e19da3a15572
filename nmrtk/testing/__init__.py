"""Contract checks for the authors of plugins: one line in their tests for each component.

Every check prints, for each property, what it measured and what is allowed, and raises
AssertionError at the first that does not hold, with what was found and what the contract says.

Example:
    >>> from nmrtk.testing import PlainCodec, check_spectrum_codec
    >>> check_spectrum_codec(PlainCodec)  # doctest: +ELLIPSIS
    PlainCodec: contract checks
      ok  constructor
    ...
"""

from nmrtk.testing.backbone import check_invertible_backbone
from nmrtk.testing.baseline import check_baseline
from nmrtk.testing.codec import check_spectrum_codec
from nmrtk.testing.encoder import check_structure_encoder
from nmrtk.testing.generator import check_candidate_generator
from nmrtk.testing.plain import (
    PlainBackbone,
    PlainCodec,
    PlainEncoder,
    plain_inversion,
    plain_query,
)
from nmrtk.testing.pretrained import check_pretrained_model
from nmrtk.testing.reader import check_reader
from nmrtk.testing.report import TOLERANCES, Report, Tolerance

__all__ = [
    "TOLERANCES",
    "PlainBackbone",
    "PlainCodec",
    "PlainEncoder",
    "Report",
    "Tolerance",
    "check_baseline",
    "check_candidate_generator",
    "check_invertible_backbone",
    "check_pretrained_model",
    "check_reader",
    "check_spectrum_codec",
    "check_structure_encoder",
    "plain_inversion",
    "plain_query",
]
