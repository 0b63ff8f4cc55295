"""Networks as walk graphs: readers (a module to layers of edges), and what composes the layers into graphs."""

from rrnn_ext.networks.pytorch import TorchReader
from rrnn_ext.networks.readers import Layer, Reader, reads

__all__ = ["Layer", "Reader", "TorchReader", "reads"]
