"""How the inner loops are compiled, and random numbers inside of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Index = int | np.int64
"""What Python calls int and Numba an integer."""

_Function = TypeVar("_Function", bound=Callable[..., Any])

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def compiled(function: _Function) -> _Function:
    """Compile a function that other compiled ones call."""
    return cast(_Function, numba.njit(nogil=True)(function))


def entry_point(function: _Function) -> _Function:
    """Compile a function that Python calls, and keep the result for the next process.

    It is kept beside the source, else in the user's cache folder; `NUMBA_CACHE_DIR` names another.
    Where none can be written, every process compiles anew.
    """
    try:
        return cast(_Function, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # numba found no folder to write to
        return cast(_Function, numba.njit(nogil=True)(function))


@compiled
def mixed(value: np.uint64) -> np.uint64:
    """A bijection of 64-bit numbers whose bits all depend on all bits (splitmix64)."""
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))


@compiled
def next_random(state: NDArray[np.uint64]) -> np.uint64:
    """The next number of a generator whose state (1,) is advanced."""
    state[0] += _STEP
    return mixed(state[0])


@compiled
def below(state: NDArray[np.uint64], count: Index) -> Index:
    """A random number 0 .. count - 1; count is small."""
    # Numba's int() would leave it unsigned.
    return np.int64(((next_random(state) >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


@compiled
def uniform(state: NDArray[np.uint64]) -> float:
    """A random number in [0, 1)."""
    return float(next_random(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
