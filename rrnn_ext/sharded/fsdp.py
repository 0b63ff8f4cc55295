"""The parameters of a module that FSDP2 (``fully_shard``) has changed for those it computes with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch


def sharded_parameter(parameter: Any) -> Any:
    """The sharded parameter that FSDP2 has put aside while ``parameter`` stands in its place; else ``parameter``.

    Between forward and backward a module may hold unsharded parameters, in the lower precision of its
    MixedPrecisionPolicy, or sharded ones, and another module of the same model the others. What the optimiser steps is
    always the sharded parameter: a penalty of it has the same value and gradient whatever the moment, and its gradient
    is not reduced over ranks once more.
    """
    if torch.compiler.is_compiling():
        return parameter
    for each in _fsdp_parameters():
        if getattr(each, "_unsharded_param", None) is parameter:
            return each.sharded_param
    return parameter


def _fsdp_parameters() -> Iterator[Any]:
    """All of this process. No public name leads from an unsharded parameter to its sharded one."""
    states: Any = sys.modules.get("torch.distributed._composable_state")
    if states is None:
        return
    for reference in states._module_state_mapping.values():
        state = reference()
        groups = getattr(state, "_fsdp_param_groups", None)
        if groups is None:  # older versions have one
            groups = [getattr(state, "_fsdp_param_group", None)]
        for group in groups:
            if group is not None:
                yield from group.fsdp_params
