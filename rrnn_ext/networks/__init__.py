"""Networks as walk graphs: readers (a module to layers of edges), and what composes the layers into graphs."""

from rrnn_ext.networks.pytorch import TorchReader
from rrnn_ext.networks.readers import Layer, LayerRun, Reader, reads
from rrnn_ext.networks.running.steps import Vectors

__all__ = ["Layer", "LayerRun", "Reader", "TorchReader", "Vectors", "reads"]
