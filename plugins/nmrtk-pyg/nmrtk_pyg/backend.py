"""PyTorch Geometric, imported without the warning that torch has for how it is written."""

import warnings

with warnings.catch_warnings():
    # Its pooling, which is not used here, is compiled in a way that torch is about to drop.
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.nn import MessagePassing

__all__ = ["MessagePassing"]
