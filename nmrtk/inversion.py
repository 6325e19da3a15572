"""A model run backwards for one query."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nmrtk.errors import UsageError
from nmrtk.formula import VECTOR_WIDTH, Formula
from nmrtk.model import ReversibleModel
from nmrtk.score_settings import ScoreSettings

_DEFAULT_SETTINGS = ScoreSettings()


class Inversion:
    """A model run backwards for one query: features that would give its spectrum.

    Args:
        model: in evaluation mode.
        target: (K,), what the codec makes of the spectrum.
        formulas: those that the compound may have, with their weights; empty where nothing is
            known of it.
        seed: of the free parts, and of what generators draw themselves.
        settings: fitted numbers of the score, for generators that score candidates themselves.

    Attributes:
        model: run backwards.
        target: (K,).
        seed: of what generators draw themselves.
        settings: of the score.
    """

    def __init__(
        self,
        model: ReversibleModel,
        target: Tensor,
        formulas: Mapping[Formula, float],
        seed: int,
        settings: ScoreSettings = _DEFAULT_SETTINGS,
    ) -> None:
        self.model = model
        self.target = target
        self.seed = seed
        self.settings = settings
        self._generator = torch.Generator().manual_seed(seed)
        self._weights = torch.tensor(list(formulas.values()), dtype=torch.float64)
        vectors = [torch.from_numpy(formula.vector()) for formula in formulas]
        self._conditions = torch.stack(vectors) if vectors else torch.zeros(0, VECTOR_WIDTH)

    @torch.no_grad()
    def sample(self, count: int) -> Tensor:
        """Draw features (count, F): the code of the spectrum, a standard normal free part, and
        one of the formulas.

        Raises:
            UsageError: the model needs a formula, and none is known.
        """
        model = self.model
        free = torch.randn(count, model.free_width, generator=self._generator)
        code = model.codec.embed(self.target.to(model.device)).expand(count, -1)
        if len(self._conditions):
            chosen = torch.multinomial(
                self._weights, count, replacement=True, generator=self._generator
            )
            condition = self._conditions[chosen]
        elif model.backbone.condition_width:
            raise UsageError(
                "this model runs backwards for a given formula only: give the formula, or a "
                "library whose formulas can be tried"
            )
        else:
            condition = torch.zeros(count, VECTOR_WIDTH)
        return model.inverse(code, free.to(model.device), condition.to(model.device))
