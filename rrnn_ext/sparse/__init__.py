"""Sparse recurrent weights: where their stored values stand, apart from the values.

Every function takes a torch.sparse tensor as ``weight_hh``. :class:`Pattern` is for what PyTorch does not let sparse
tensors into, such as torch.func and torch.compile.
"""

from rrnn_ext.sparse.pattern import Pattern, SparseWeight

__all__ = ["Pattern", "SparseWeight"]
