"""A structure encoder on PyTorch Geometric."""

from nmrtk import Component, hookimpl


@hookimpl
def structure_encoders() -> list[Component]:
    """The network of `dgl-gin`, for GPUs and for every Python."""
    return [
        Component(
            "pyg-gine",
            "nmrtk_pyg.gine:GineEncoder",
            "graph isomorphism network with bonds (GINE); shifts of atoms, features of molecules",
        )
    ]
