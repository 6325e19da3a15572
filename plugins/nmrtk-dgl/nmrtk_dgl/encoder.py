"""What the encoders on DGL have in common."""

from __future__ import annotations

from nmrtk.errors import ConfigurationError
from nmrtk.graph_batch import GraphBatch
from nmrtk.graph_encoder import GraphEncoder
from nmrtk_dgl.backend import DGLGraph, dgl


class DglEncoder(GraphEncoder):
    """A graph encoder whose convolutions get a DGL graph."""

    def graphs(self, batch: GraphBatch) -> list[DGLGraph]:
        """The bonds of a batch, the same for every layer.

        Raises:
            ConfigurationError: this build of DGL cannot compute on the device.
        """
        try:
            graph = dgl.graph((batch.sources, batch.targets), num_nodes=len(batch.atoms))
        except dgl.DGLError as error:
            raise ConfigurationError(
                f"DGL {dgl.__version__} cannot compute on {batch.atoms.device}: its build on PyPI "
                "is for the CPU; choose the device cpu or another encoder"
            ) from error
        return [graph] * self.layers
