"""DGL, imported so that it neither prints nor writes.

Unless the variable is set before the import, DGL asks for a backend and writes the answer into
the user's home.
"""

import os

os.environ["DGLBACKEND"] = "pytorch"

import dgl
from dgl import function, ops

DGLGraph = dgl.DGLGraph

__all__ = ["DGLGraph", "dgl", "function", "ops"]
