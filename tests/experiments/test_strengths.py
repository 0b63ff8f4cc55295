"""Strengths over sizes: where a loss doubles, what a share is, and what is measured before training."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from experiments import strengths
from experiments.strengths import Case, Outcome
from experiments.training import stacked
from rrnn_ext import reference

LINE = Outcome(Case("RNN", "averaging", 8), 2.0, 5.0, 40.0, {0.01: 1.0, 0.1: 4.0, 1.0: 16.0})


def test_the_loss_doubles_half_way_between_one_and_four_times() -> None:
    assert LINE.doubled() == pytest.approx(0.1 / 10**0.5)


def test_a_loss_that_never_doubles_has_no_such_strength() -> None:
    assert math.isnan(replace(LINE, costs={0.01: 1.0, 0.1: 1.9}).doubled())


def test_the_share_is_what_the_penalty_is_worth() -> None:
    assert LINE.share(0.05) == 0.05 * 40.0 / 2.0


@pytest.mark.parametrize("kind", ["RNN", "GRU"])
def test_without_updates_nothing_costs_anything(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strengths, "UPDATES", 0)
    monkeypatch.setattr(strengths, "STRENGTHS", (0.1,))
    found = strengths.outcome(Case(kind, "averaging", 8))
    assert found.costs == {0.1: 1.0}
    assert found.first == found.trained > 0
    assert 0.8 < found.knowing_nothing < 1.3  # targets have variance 1


def test_the_first_penalty_is_that_of_the_first_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strengths, "UPDATES", 0)
    case = Case("RNN", "averaging", 8)
    problem = case.problem()
    networks = stacked.new_networks(strengths.SEEDS, inputs=problem.inputs, hidden=8, outputs=problem.outputs)
    weights = (weight.double() for weight in (networks.weight_hh, networks.weight_in, networks.weight_out))
    expected = reference.resolvent_penalty(*weights, hops=problem.steps, per_hop=True, reduction="mean")
    torch.testing.assert_close(strengths.outcome(case).first, float(expected), rtol=1e-5, atol=0.0)
