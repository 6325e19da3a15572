"""Memory for training of `irevnet-flat` by depth, with and without recomputed activations.

python benchmarks/backbone_memory.py
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import torch
from nmrtk_irevnet.flat import FlatBackbone
from torch import Tensor

_MIB = 2**20
_CODE = 128
_CONDITION = 14


class Usage(NamedTuple):
    """What one training step took.

    Args:
        saved: bytes that autograd kept for the backward pass, parameters not counted.
        peak: bytes by which the step raised the peak of resident memory.
        seconds: duration of forward and backward pass.
    """

    saved: int
    peak: int
    seconds: float


def measure(depth: int, recompute: bool, width: int, batch: int) -> Usage:
    """One forward and backward pass, on one thread of a process that has done nothing else."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = FlatBackbone(width, _CODE, _CONDITION, depth=depth, recompute=recompute)
    # Room for gradients of the parameters is part of any training: a small step takes it first.
    backbone(torch.randn(2, width), torch.randn(2, _CONDITION)).sum().backward()
    backbone.zero_grad()
    own = {parameter.data_ptr() for parameter in backbone.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            saved[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    features, condition = torch.randn(batch, width), torch.randn(batch, _CONDITION)
    before = _peak_resident()
    start = time.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = backbone(features, condition)
    outputs.square().sum().backward()
    seconds = time.perf_counter() - start
    return Usage(sum(saved.values()), _peak_resident() - before, seconds)


def _peak_resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Print a table, one row a depth and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[8, 32, 128], help="blocks")
    parser.add_argument("--width", type=int, default=384, help="features")
    parser.add_argument("--batch", type=int, default=1024, help="molecules a step")
    arguments = parser.parse_args()
    print(f"batch {arguments.batch}, width {arguments.width}, memory in MiB")
    print("activations  blocks    saved   ratio     peak   ratio   s/step")
    for recompute, depth in itertools.product((True, False), arguments.depths):
        # The peak of a process never falls, so every row has a process of its own.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            usage = pool.submit(
                measure, depth, recompute, arguments.width, arguments.batch
            ).result()
        if depth == arguments.depths[0]:
            first = usage
        way = "recomputed" if recompute else "stored"
        print(
            f"{way:11}  {depth:6}  {usage.saved / _MIB:7.1f}  {usage.saved / first.saved:6.2f}"
            f"  {usage.peak / _MIB:7.1f}  {usage.peak / first.peak:6.2f}  {usage.seconds:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
