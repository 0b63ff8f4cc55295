"""Regularise or read a recurrent network by its pathways: the resolvent penalty, native and exact."""

from rrnn_ext._errors import ResolventConditionError, ResolventDivergenceError
from rrnn_ext.diagnostics import ResolventInfo, resolvent_info
from rrnn_ext.functional import accumulate_penalty_grad, hop_decomposition, resolvent, resolvent_penalty
from rrnn_ext.modules import ResolventPenalty

__version__ = "0.2.0"

__all__ = [
    "ResolventConditionError",
    "ResolventDivergenceError",
    "ResolventInfo",
    "ResolventPenalty",
    "accumulate_penalty_grad",
    "hop_decomposition",
    "resolvent",
    "resolvent_info",
    "resolvent_penalty",
]
