"""How much of what there is the candidates of a query cover."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nmrtk.score_settings import ScoreSettings


@dataclass(frozen=True, slots=True)
class Coverage:
    """What tells how probable it is that the right structure is among the candidates.

    Args:
        line_count: number of distinct observed lines.
        considered: number of structures that were compared with the spectrum at the least, those of
            a library included that were left out as unlikely.
        made_up: whether structures were proposed that are not known to exist.
        recurrence: share of the attempts of a search that came upon the first candidate, above 0
            to 1; 1 where there was no such search.
    """

    line_count: int
    considered: int = 1
    made_up: bool = False
    recurrence: float = 1.0

    def none_logit(self, settings: ScoreSettings) -> float:
        """Logarithm of the weight of what was not found, beside those of the candidates.

        It has the score that a compound with so many lines usually has, and a weight that grows
        with the number of structures compared: where many fit, many others would.
        """
        per_line, log_odds = settings.none_per_line, settings.none_log_odds
        if self.made_up:
            per_line += settings.none_made_up_per_line
            log_odds += settings.none_made_up
        log_odds += settings.none_per_candidate * math.log(max(self.considered, 1))
        log_odds -= settings.none_recurrence * math.log(self.recurrence)
        return per_line * self.line_count / settings.temperature + log_odds
