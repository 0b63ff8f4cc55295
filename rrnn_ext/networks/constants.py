"""Tensors that are no weights: kept as they were given, and copied to where the weights are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from rrnn_ext._modes import may_be_batched


class Constant:
    """A tensor that stays as it was given, whatever happens to the model, and its copy where the weights are."""

    def __init__(self, given: Tensor) -> None:
        with torch.inference_mode(False):
            # An inference tensor cannot be kept for a backward pass, and only a floating dtype is one of factors.
            given = given.clone() if given.is_inference() else given
            self.given = given if given.is_floating_point() else given.double()
        self._copy: Tensor | None = None
        self._version = 0

    def beside(self, name: str, weight: Tensor) -> Tensor:
        """The constant on the weight's device, where a copy stays: one at each call would wait."""
        given, device = self.given, weight.device
        if given.is_meta and not weight.is_meta:
            raise ValueError(f"{name} is on the meta device and has no values: make it with device='cpu'")
        if isinstance(weight, FakeTensor) and not isinstance(given, FakeTensor):
            return weight.fake_mode.from_tensor(given)
        if given.device == device:
            return given
        if may_be_batched() or isinstance(weight, FakeTensor) or given.requires_grad:  # a leak that learns
            return given.to(device)
        if self._copy is None or self._copy.device != device or self._version != given._version:
            with torch.inference_mode(False):
                self._copy, self._version = given.to(device), given._version
        return self._copy

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_copy": None}
