"""Fit on val what makes stated uncertainties true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from nmrtk.batch import Batch, PreparedExample, collate
from nmrtk.checkpoint import Calibration
from nmrtk.interfaces import SpectrumCodec
from nmrtk.model import Prediction, ReversibleModel
from nmrtk.score_errors import fit_errors
from nmrtk.score_settings import ScoreSettings
from nmrtk.scoring import best_threshold

COVERAGE, COVERAGE_SIGMAS = 0.8, 1.28
"""Share of lines that lie within this many sigmas: those of a normal distribution."""

POOL_SIZE = 800
"""Molecules that stand in for a library when probabilities are calibrated."""

BATCH_SIZE = 128


def predict_prepared(
    model: ReversibleModel, examples: Sequence[PreparedExample]
) -> Iterator[tuple[Batch, Prediction]]:
    """The forward direction over prepared examples, batch by batch, without gradients."""
    for start in range(0, len(examples), BATCH_SIZE):
        batch = collate(model, examples[start : start + BATCH_SIZE]).to(model.device)
        with torch.no_grad():
            yield batch, model(batch.inputs, batch.condition)


def with_features(
    model: ReversibleModel, examples: Sequence[PreparedExample]
) -> list[PreparedExample]:
    """Examples with the features that the encoder, as it is, gives them."""
    model.eval()
    features = torch.cat([p.features.cpu() for _, p in predict_prepared(model, examples)]).numpy()
    return [replace(one, features=row) for one, row in zip(examples, features, strict=True)]


def calibrate(model: ReversibleModel, examples: Sequence[PreparedExample]) -> Calibration:
    """Calibrate a trained model, and set its `mean_code` and what its codec embeds.

    Args:
        model: in evaluation mode.
        examples: of val, in any order.

    Returns:
        The calibration; where the encoder predicts no lines, sigmas stay as the codec gives them.
    """
    errors, scales, codes, targets = [], [], [], []
    for batch, prediction in predict_prepared(model, examples):
        codes.append(prediction.code)
        targets.append(batch.target)
        if prediction.lines is not None and len(batch.line_shifts):
            shift, scale = batch.matched(prediction.lines)
            errors.append((shift - batch.line_shifts).abs().double().cpu())
            scales.append(scale.double().cpu())
    code, target = torch.cat(codes), torch.cat(targets)
    model.mean_code.copy_(code.mean(0))
    model.codec.fit_embedding(code, target)
    temperature, none_log_odds = _fit_posterior(model, code[:POOL_SIZE], target[:POOL_SIZE])
    sigma_factor, score = 1.0, ScoreSettings()
    if errors:
        error, width = torch.cat(errors).numpy(), torch.cat(scales).numpy()
        sigma_factor = float(np.quantile(error / width, COVERAGE) / COVERAGE_SIGMAS)
        score = fit_errors(error, width, score)
    return Calibration(
        sigma_factor=sigma_factor,
        temperature=temperature,
        none_log_odds=none_log_odds,
        occupancy_threshold=best_threshold(
            model.codec.occupancy(code).cpu().numpy(), model.codec.occupied(target).cpu().numpy()
        ),
        score=score,
    )


def likelihood_matrix(codec: SpectrumCodec, code: Tensor, target: Tensor) -> NDArray[np.float64]:
    """Log-likelihood (T, B) of each of T targets under each of B codes, in nats."""
    with torch.no_grad():
        rows = [codec.log_likelihood(code, one.expand_as(code)) for one in target]
    return torch.stack(rows).double().cpu().numpy()


def posterior(
    scores: NDArray[np.float64], background: NDArray[np.float64], calibration: Calibration
) -> NDArray[np.float64]:
    """Probabilities (T, N + 1) of N candidates and, last, of none of them.

    The candidates together have the same prior weight as all that is not among them; its
    likelihood is that of a molecule of which nothing is known, shifted by what was fitted on val.

    Args:
        scores: (T, N) log-likelihoods; -inf for what is no candidate of a query.
        background: (T,) log-likelihood under the model's `mean_code`.
        calibration: temperature and log-odds.
    """
    scaled = scores / calibration.temperature
    count = np.maximum(np.isfinite(scores).sum(1), 1)
    none = background / calibration.temperature + calibration.none_log_odds + np.log(count)
    logits = np.concatenate([scaled, none[:, None]], axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    probabilities: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return probabilities


def _fit_posterior(model: ReversibleModel, code: Tensor, target: Tensor) -> tuple[float, float]:
    """Temperature and log-odds of none that make the posterior of the truth most likely, over
    libraries that hold the truth of every other query.
    """
    scores = likelihood_matrix(model.codec, code, target)
    background = likelihood_matrix(model.codec, model.mean_code[None], target)[:, 0]
    queries = np.arange(len(scores))
    absent = queries % 2 == 1
    scores[queries[absent], queries[absent]] = -np.inf
    answer = np.where(absent, scores.shape[1], queries)

    def surprise(parameters: NDArray[np.float64]) -> float:
        trial = Calibration(temperature=float(np.exp(parameters[0])), none_log_odds=parameters[1])
        chosen = posterior(scores, background, trial)[queries, answer]
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())

    best = minimize(surprise, np.array([1.0, 0.0]), method="Nelder-Mead")
    return float(np.exp(best.x[0])), float(best.x[1])
