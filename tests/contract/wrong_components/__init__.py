"""Components that each break one rule, with a part of the message that must name it."""

from wrong_components.backbones import WRONG_BACKBONES
from wrong_components.baselines import WRONG_BASELINES
from wrong_components.codecs import WRONG_CODECS
from wrong_components.encoders import WRONG_ENCODERS
from wrong_components.generators import WRONG_GENERATORS
from wrong_components.pretrained import WRONG_PRETRAINED
from wrong_components.readers import WRONG_READERS

__all__ = [
    "WRONG_BACKBONES",
    "WRONG_BASELINES",
    "WRONG_CODECS",
    "WRONG_ENCODERS",
    "WRONG_GENERATORS",
    "WRONG_PRETRAINED",
    "WRONG_READERS",
]
