"""Sparse recurrent weights: where their stored values stand, apart from the values, and the influence of their units.

Every function takes a torch.sparse tensor as ``weight_hh``. :class:`Pattern` is for what PyTorch does not let sparse
tensors into, such as torch.func and torch.compile. :func:`influence` scores a connectome.
"""

from rrnn_ext.sparse.influence_score import adjusted, influence
from rrnn_ext.sparse.pattern import Pattern, SparseWeight

__all__ = ["Pattern", "SparseWeight", "adjusted", "influence"]
