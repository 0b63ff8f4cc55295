"""The sequences that a network is run on, out of a file."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from rrnn_ext.networks.states import CheckpointError


def load_sequences(path: str | Path) -> Tensor:
    """(count, steps, inputs), float64, of a .npy file, or of a tensor that torch.save wrote; a single sequence may come
    as (steps, inputs).

    Raises:
        CheckpointError: no such file, or not numbers of that shape.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    try:
        found = _array(path) if path.suffix == ".npy" else torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} must be a .npy file or a tensor saved by torch.save: {error}") from error
    if not isinstance(found, Tensor):
        raise CheckpointError(f"{path} must hold one tensor (count, steps, inputs), got {type(found).__name__}")
    if found.dim() not in (2, 3) or found.numel() == 0 or found.is_complex():
        raise CheckpointError(f"{path} must hold real numbers (count, steps, inputs), got {tuple(found.shape)}")
    found = found.double()
    if not bool(found.isfinite().all()):
        raise CheckpointError(f"{path} has numbers that are not finite")
    return found.unsqueeze(0) if found.dim() == 2 else found


def _array(path: Path) -> Tensor:
    import numpy as np

    return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float64))
