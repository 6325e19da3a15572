"""Structure encoders on DGL graph networks."""

from nmrtk import Component, hookimpl


@hookimpl
def structure_encoders() -> list[Component]:
    """Two networks over the molecular graph that differ in how neighbours speak."""
    return [
        Component(
            "dgl-gin",
            "nmrtk_dgl.gin:GinEncoder",
            "graph isomorphism network with bonds (GINE); shifts of atoms, features of molecules",
        ),
        Component(
            "dgl-gat",
            "nmrtk_dgl.gat:GatEncoder",
            "graph attention network with bonds; shifts of atoms, features of molecules",
        ),
    ]
