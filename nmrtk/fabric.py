"""Where a training runs: devices and processes."""

from __future__ import annotations

from lightning_fabric import Fabric

from nmrtk.errors import UsageError


def launch_fabric(devices: int, accelerator: str) -> Fabric:
    """Start the processes of a training.

    Args:
        devices: processes or GPUs.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UsageError: this machine has no such devices.
    """
    try:
        fabric = Fabric(
            accelerator=accelerator, devices=devices, strategy="ddp" if devices > 1 else "auto"
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"--accelerator {accelerator} --devices {devices}: {error}") from error
    fabric.launch()
    return fabric
