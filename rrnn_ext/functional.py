"""Interim: the interface on top of the reference while the native kernels are being written."""
from rrnn_ext import reference
def resolvent_penalty(weight_hh, weight_in=None, weight_out=None, *, alpha=1.0, hops=None, rectify=False, per_hop=False, norm="l1", hop_weights=None, pair_weights=None, method="auto", reduction="sum"):
    return reference.resolvent_penalty(weight_hh, weight_in, weight_out, alpha=alpha, hops=hops, rectify=rectify, per_hop=per_hop, norm=norm, hop_weights=hop_weights, pair_weights=pair_weights, reduction=reduction)
def resolvent(weight_hh, weight_in=None, weight_out=None, *, alpha=1.0, hops=None, rectify=False, hop_weights=None, method="auto"):
    return reference.resolvent(weight_hh, weight_in, weight_out, alpha=alpha, hops=hops, rectify=rectify, hop_weights=hop_weights)
def hop_decomposition(weight_hh, weight_in=None, weight_out=None, *, hops, alpha=1.0, rectify=False):
    return reference.hop_decomposition(weight_hh, weight_in, weight_out, hops=hops, alpha=alpha, rectify=rectify)
