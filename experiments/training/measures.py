"""What is recorded of every trained network besides its test error: its weights and its responses, analysed."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

import rrnn_ext
from experiments.tasks.modular import Task
from experiments.tasks.problems import Problem
from experiments.training import stacked
from experiments.training.results import Measure
from experiments.training.stacked import Networks
from rrnn_ext import reading

RESPONSES_ON = 16  # test sequences: the mean response on them is compared with the walks


def of_networks(networks: Networks, problem: Problem) -> list[dict[str, Measure]]:
    """For each network of the stack, with R_io = Σ_m P_m the walks, summed over the lags:

    - spectral_radius of W; resolvent_l1 ‖R_io‖₁; walks_l1 Σ_m ‖P_m‖₁, which it would be if lags could not cancel.
    - hop_profile: ‖P_m‖₁ / walks_l1 by lag; hoyer and gini: the sparsity of the profile.
    - correlation_jacobian, correlation_impulses: of the trained network's own response by lag with its P_m.

    Of a task, which knows its optimum, also

    - correlation of R_io with the optimum; correlation_normalised with the recurrent weights divided by their spectral
      radius; correlation_per_hop of all P_m with the optimal walks, one number.
    - the same of maps that see one hop: correlation_in_out of V U, correlation_in_out_per_hop of V U at every
      lag with the optimal walks; correlation_two_edges of V W U;
      correlation_membership of W read by the modules of its units, correlation_membership_signed with the units'
      signs known, correlation_membership_rectified of |W|, with the size of the optimum.
    - communication_sparsity, the share of R_io off the optimum's support, and alignment; both also _per_hop.
    - signal_share: of the profile, on the lags that the optimum uses.
    """
    walks = rrnn_ext.hop_decomposition(networks.weight_hh, networks.weight_in, networks.weight_out, hops=problem.steps)
    measured = _of_walks(networks, walks) | _of_responses(networks, walks, problem)
    if isinstance(problem, Task):
        measured |= _against_optimum(networks, walks, problem)
    columns = {name: values.tolist() for name, values in measured.items()}
    return [
        {name: tuple(values[k]) if isinstance(values[k], list) else values[k] for name, values in columns.items()}
        for k in range(len(walks))
    ]


def _of_walks(networks: Networks, walks: Tensor) -> dict[str, Tensor]:
    profile = reading.hop_profile(walks)
    return {
        "spectral_radius": rrnn_ext.resolvent_info(networks.weight_hh).spectral_radius,
        "resolvent_l1": walks.sum(-3).abs().sum((-2, -1)),
        "walks_l1": walks.abs().sum((-3, -2, -1)),
        "hop_profile": profile,
        "hoyer": reading.hoyer(profile),
        "gini": reading.gini(profile),
    }


def _of_responses(networks: Networks, walks: Tensor, problem: Problem) -> dict[str, Tensor]:
    sequences = problem.test_set()[0][:RESPONSES_ON]
    by_jacobian, by_impulses = [], []
    for k in range(len(walks)):  # one after the other: impulses at every step and input are many sequences already
        network = partial(stacked.outputs, networks.select(slice(k, k + 1)))
        by_jacobian.append(reading.lag_response_by_jacobian(network, sequences))
        by_impulses.append(reading.lag_response_by_impulses(network, sequences))
    return {
        "correlation_jacobian": reading.correlation(torch.cat(by_jacobian), walks, dims=3),
        "correlation_impulses": reading.correlation(torch.cat(by_impulses), walks, dims=3),
    }


def _against_optimum(networks: Networks, walks: Tensor, task: Task) -> dict[str, Tensor]:
    weight_hh, weight_in, weight_out = networks.weight_hh, networks.weight_in, networks.weight_out
    optimum, optimal_walks = task.optimum, task.optimal_walks
    influence = walks.sum(-3)
    normalised = reading.influence_map(reading.unit_radius(weight_hh), weight_in, weight_out, task.steps)
    single = reading.single_hop_maps(weight_hh, weight_in, weight_out, task.module_of_input)
    return {
        "correlation": reading.correlation(influence, optimum),
        "correlation_normalised": reading.correlation(normalised, optimum),
        "correlation_per_hop": reading.correlation(walks, optimal_walks, dims=3),
        "correlation_in_out": reading.correlation(single["V U"], optimum),
        "correlation_in_out_per_hop": reading.correlation(
            single["V U"][..., None, :, :].expand_as(walks), optimal_walks, dims=3
        ),
        "correlation_two_edges": reading.correlation(single["V W U"], optimum),
        "correlation_membership": reading.correlation(single["W by module"], optimum),
        "correlation_membership_signed": reading.correlation(single["W by module, signed"], optimum),
        "correlation_membership_rectified": reading.correlation(single["|W| by module"], optimum.abs()),
        "communication_sparsity": reading.communication_sparsity(influence, optimum),
        "communication_sparsity_per_hop": reading.communication_sparsity(walks, optimal_walks, dims=3),
        "alignment": reading.alignment(influence, optimum),
        "alignment_per_hop": reading.alignment(walks, optimal_walks, dims=3),
        "signal_share": reading.signal_share(reading.hop_profile(walks), optimal_walks),
    }
