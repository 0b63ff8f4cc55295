"""Spectral radius, convergence and truncation of the walk series."""
import dataclasses, torch
class ResolventDivergenceError(ValueError):
    pass
@dataclasses.dataclass(frozen=True)
class ResolventInfo:
    spectral_radius: torch.Tensor
    converges: torch.Tensor
    tail_bound: torch.Tensor
    max_alpha: torch.Tensor
def resolvent_info(weight_hh, *, alpha=1.0, hops=None, rectify=False):
    raise NotImplementedError
