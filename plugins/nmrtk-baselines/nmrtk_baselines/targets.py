"""What the baselines learn: which bins of the codec are occupied."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nmrtk.errors import UsageError
from nmrtk.interfaces import Example, SpectrumCodec


def occupied_bins(codec: SpectrumCodec, examples: Sequence[Example]) -> NDArray[np.bool_]:
    """Whether each bin holds a line, (B, N), for each example.

    Raises:
        UsageError: there are no examples.
        SpectrumError: the codec cannot encode a spectrum.
    """
    if not examples:
        raise UsageError("a baseline cannot learn from 0 examples: give it a training split")
    targets = np.stack([codec.encode(example.spectrum) for example in examples])
    return codec.occupied(torch.from_numpy(targets)).cpu().numpy()


def not_fitted(baseline: object) -> UsageError:
    """The error of a prediction before `fit`."""
    return UsageError(f"{type(baseline).__name__} has learned nothing yet: call fit first")
