"""The analysis against known answers, other libraries, and networks whose walks are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

import rrnn_ext
from experiments.tasks import modular
from rrnn_ext import reading

STEPS = 5


def delay_line(optimal_walks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A linear network (W, U, V) with exactly these walks: unit (m, i) holds what input i was m steps ago."""
    lags, _, inputs = optimal_walks.shape
    older = torch.diag(torch.ones(lags - 1), -1)
    weight_hh = torch.kron(older, torch.eye(inputs))
    weight_in = torch.eye(lags * inputs, inputs)
    return weight_hh, weight_in, optimal_walks.transpose(0, 1).flatten(1)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestMaps:
    @pytest.mark.parametrize("name", modular.TASKS)
    def test_influence_map_of_a_network_that_is_optimal(self, name: str) -> None:
        task = modular.TASKS[name]()
        found = reading.influence_map(*delay_line(task.optimal_walks), task.steps)
        torch.testing.assert_close(found, task.optimum)
        # A sequence of two steps shows the walks at lags 0 and 1 alone.
        found = reading.influence_map(*delay_line(task.optimal_walks), 2)
        torch.testing.assert_close(found, task.optimal_walks[:2].sum(0))

    def test_influence_map_of_a_batch(self) -> None:
        weights = random(3, 6, 6), random(3, 6, 2, seed=1), random(3, 4, 6, seed=2)
        maps = reading.influence_map(*weights, STEPS)
        assert maps.shape == (3, 4, 2)
        for found, w, u, v in zip(maps, *weights, strict=True):
            expected = sum(v.numpy() @ np.linalg.matrix_power(w.numpy(), m) @ u.numpy() for m in range(STEPS))
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)

    def test_unit_radius(self) -> None:
        weight_hh = random(3, 6, 6)
        scaled = reading.unit_radius(weight_hh)
        for before, after in zip(weight_hh, scaled, strict=True):
            assert np.abs(np.linalg.eigvals(after.numpy())).max() == pytest.approx(1)
            torch.testing.assert_close(after / after[0, 0], before / before[0, 0])
            assert after[0, 0] * before[0, 0] > 0

    def test_unit_radius_of_a_weight_without_cycles(self) -> None:
        chain = torch.diag(torch.ones(2), -1)
        assert reading.unit_radius(chain).isnan().all()
        assert reading.unit_radius(chain.to_sparse()).coalesce().values().isnan().all()
        both = reading.unit_radius(torch.stack([chain, 2 * torch.eye(3)]))
        assert both[0].isnan().all()
        assert torch.equal(both[1], torch.eye(3))

    @pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
    def test_unit_radius_of_a_sparse_weight(self, layout: torch.layout) -> None:
        weight_hh = random(6, 6) * (random(6, 6, seed=1) > 0)
        scaled = reading.unit_radius(weight_hh.to_sparse(layout=layout))
        assert scaled.layout == layout
        expected = weight_hh / np.abs(np.linalg.eigvals(weight_hh.numpy())).max()
        torch.testing.assert_close(scaled.to_dense(), expected)

    def test_nothing_keeps_a_gradient(self) -> None:
        weight_hh, weight_in, weight_out = (random(4, 4, seed=seed).requires_grad_() for seed in range(3))
        assert not reading.influence_map(weight_hh, weight_in, weight_out, STEPS).requires_grad
        assert not reading.unit_radius(weight_hh).requires_grad


class TestSingleHopMaps:
    # Units 0 and 1 listen to module 0 (inputs 0, 1), units 2 and 3 to module 1 (inputs 2, 3).
    # Units 1 and 2 speak to output 0, units 0 and 3 to output 1.
    MODULES = torch.tensor([0, 0, 1, 1])
    WEIGHT_HH = torch.arange(16.0).reshape(4, 4) - 7
    WEIGHT_IN = torch.tensor([[1.0, 1, 0.5, 0], [-2, 1, 1, 0], [0, 0.1, 1, 1], [0.5, 0, 0, -1]])
    WEIGHT_OUT = torch.tensor([[0.1, -2.0, 1, 0.3], [1, 1, 0.2, 3]])

    def test_by_hand(self) -> None:
        w, u, v = self.WEIGHT_HH, self.WEIGHT_IN, self.WEIGHT_OUT
        maps = reading.single_hop_maps(w, u, v, self.MODULES)
        torch.testing.assert_close(maps["V U"], v @ u)
        torch.testing.assert_close(maps["V W U"], v @ w @ u)
        to_output, from_module = ([1, 2], [0, 3]), ([0, 1], [2, 3])
        turned_out, turned_in = torch.tensor([1.0, -1, 1, 1]), torch.tensor([1.0, -1, 1, -1])
        signed = turned_out[:, None] * w * turned_in
        for name, weights in (("W by module", w), ("|W| by module", w.abs()), ("W by module, signed", signed)):
            blocks = [[weights[targets][:, sources].mean() for sources in from_module] for targets in to_output]
            expected = torch.tensor(blocks)[:, self.MODULES]
            torch.testing.assert_close(maps[name], expected)

    def test_batch(self) -> None:
        w, u, v = (torch.stack([each, each.flip(-1, -2)]) for each in (self.WEIGHT_HH, self.WEIGHT_IN, self.WEIGHT_OUT))
        batch = reading.single_hop_maps(w, u, v, self.MODULES)
        for k in range(2):
            for name, found in reading.single_hop_maps(w[k], u[k], v[k], self.MODULES).items():
                torch.testing.assert_close(batch[name][k], found)

    def test_turning_a_unit_changes_only_the_raw_reading(self) -> None:
        """h -> -h of a tanh unit changes no output; what changes with it says nothing of what is computed."""
        turn = torch.tensor([1.0, -1, -1, 1])
        before = reading.single_hop_maps(self.WEIGHT_HH, self.WEIGHT_IN, self.WEIGHT_OUT, self.MODULES)
        after = reading.single_hop_maps(
            turn[:, None] * self.WEIGHT_HH * turn, turn[:, None] * self.WEIGHT_IN, self.WEIGHT_OUT * turn, self.MODULES
        )
        unchanged = [name for name in before if torch.allclose(before[name], after[name])]
        assert unchanged == ["V U", "V W U", "|W| by module", "W by module, signed"]

    def test_a_module_that_no_unit_listens_to(self) -> None:
        weight_in = torch.tensor([[1.0, 0], [1, 0]])
        maps = reading.single_hop_maps(torch.ones(2, 2), weight_in, torch.ones(1, 2), torch.tensor([0, 1]))
        assert maps["W by module"].tolist() == [[1, 0]]


class TestCorrelation:
    def test_against_numpy(self) -> None:
        found, optimum = random(3, 4, 2, 5), random(4, 2, 5, seed=1)
        by_map = [[np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(f, optimum, strict=True)] for f in found]
        np.testing.assert_allclose(reading.correlation(found, optimum).numpy(), by_map, rtol=1e-12)
        over_all = [np.corrcoef(f.flatten(), optimum.flatten())[0, 1] for f in found]
        np.testing.assert_allclose(reading.correlation(found, optimum, dims=3).numpy(), over_all, rtol=1e-12)

    def test_constants_have_none(self) -> None:
        varied, constant = random(7, 7).float(), torch.full((7, 7), 0.1)
        assert (constant - constant.mean()).any()  # rounding
        assert reading.correlation(varied, constant).isnan()
        assert reading.correlation(constant, varied).isnan()
        assert reading.correlation(torch.zeros(7, 7), varied).isnan()
        assert reading.correlation(varied * math.nan, varied).isnan()

    def test_scale_and_shift_do_not_matter(self) -> None:
        varied = random(2, 3).float()
        torch.testing.assert_close(reading.correlation(1e-30 * varied, 5 - 3 * varied), torch.tensor(-1.0))


def test_shapes_that_do_not_agree() -> None:
    for measure in (reading.correlation, reading.communication_sparsity, reading.alignment):
        with pytest.raises(ValueError, match=r"last 2 dimensions of found \(3, 2, 4\) and optimum \(4, 2\) must agree"):
            measure(torch.zeros(3, 2, 4), torch.zeros(4, 2))


class TestSparsity:
    def test_communication_by_hand(self) -> None:
        optimum = torch.tensor([[1.0, 0], [0, -2]])
        found = torch.tensor([[[3.0, -1], [0, -4]], [[1, 0], [0, 0]], [[0, 5], [-5, 0]]])
        torch.testing.assert_close(reading.communication_sparsity(found, optimum), torch.tensor([1 / 8, 0.0, 1.0]))
        assert reading.communication_sparsity(found, torch.stack([optimum] * 3), dims=3).item() == pytest.approx(
            11 / 19
        )
        assert reading.communication_sparsity(torch.zeros(2, 2), optimum).isnan()

    def test_profile_by_hand(self) -> None:
        walks = torch.tensor([[[1.0, -1], [0, 0]], [[0, 0], [0, -6]]])
        assert reading.hop_profile(walks).tolist() == [0.25, 0.75]
        profile = reading.hop_profile(torch.stack([walks, -walks.flip(0)]))
        assert profile.tolist() == [[0.25, 0.75], [0.75, 0.25]]

    @pytest.mark.parametrize(("measure", "most"), [(reading.hoyer, 1.0), (reading.gini, 1 - 1 / 4)])
    def test_extremes(self, measure: Callable[[Tensor], Tensor], most: float) -> None:
        profiles = torch.tensor([[0.25] * 4, [0, 0, 1, 0], [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
        flat, single, rising, falling = measure(profiles).tolist()
        assert flat == pytest.approx(0, abs=1e-6)
        assert single == pytest.approx(most)
        assert 0 < rising < most
        assert rising == pytest.approx(falling, rel=1e-5)

    def test_gini_is_half_the_mean_difference_by_the_mean(self) -> None:
        profile = random(7).abs()
        differences = (profile[:, None] - profile).abs().mean()
        torch.testing.assert_close(reading.gini(profile), differences / (2 * profile.mean()))

    def test_hoyer_of_a_known_profile(self) -> None:
        # l1 = 4, l2 = sqrt(10): (2 - 4 / sqrt(10)) / (2 - 1)
        assert reading.hoyer(torch.tensor([3.0, 1, 0, 0])).item() == pytest.approx(2 - 4 / math.sqrt(10))

    @pytest.mark.parametrize("measure", [reading.hoyer, reading.gini, reading.mean_lag])
    @pytest.mark.parametrize(
        ("dtype", "scale"), [(torch.float32, 1e30), (torch.float32, 1e-30), (torch.float64, 1e300)]
    )
    def test_the_scale_does_not_matter(
        self, measure: Callable[[Tensor], Tensor], dtype: torch.dtype, scale: float
    ) -> None:
        profile = torch.tensor([3.0, 1, 0, 0], dtype=dtype)
        torch.testing.assert_close(measure(scale * profile), measure(profile))
        walks = profile.reshape(4, 1, 1)
        torch.testing.assert_close(reading.hop_profile(4e7 * scale * walks), reading.hop_profile(walks))

    def test_halves_and_integers(self) -> None:
        walks = torch.full((3000, 20, 20), 200.0)  # the sum of a lag overflows float16, and its number bfloat16
        for dtype in (torch.float16, torch.bfloat16):
            profile = reading.hop_profile(walks.to(dtype))
            assert profile.dtype == dtype
            assert profile.double().sum().item() == pytest.approx(1, rel=0.01)
            assert reading.mean_lag(profile).item() == pytest.approx(1499.5, rel=0.01)
            assert reading.gini(profile).item() == pytest.approx(0, abs=1e-3)
        counts = torch.tensor([[2, 0], [1, 1]])
        optimum = torch.tensor([[1, 0], [0, 1]])
        assert reading.alignment(counts, optimum).item() == 3.5 / 4
        assert reading.communication_sparsity(counts, optimum).item() == 0.25
        expected = np.corrcoef(counts.flatten(), optimum.flatten())[0, 1]
        assert reading.correlation(counts, optimum).item() == pytest.approx(expected)

    def test_signal_share_of_an_optimum_that_does_not_fit(self) -> None:
        with pytest.raises(ValueError, match=r"optimal_walks must be \(4, o, i\) for this profile, got \(3, 2, 2\)"):
            reading.signal_share(torch.full((4,), 0.25), torch.ones(3, 2, 2))

    def test_nan_in_nan_out(self) -> None:
        optimum = torch.eye(2)
        optimum[0, 1] = math.nan
        for measure in (reading.correlation, reading.alignment, reading.communication_sparsity):
            assert measure(torch.eye(2), optimum).isnan()
            assert measure(optimum, torch.eye(2)).isnan()
        assert reading.signal_share(torch.tensor([0.5, 0.5]), torch.stack([torch.eye(2), optimum])).isnan()
        for of_profile in (reading.hoyer, reading.gini, reading.mean_lag):
            assert of_profile(torch.tensor([0.5, math.nan, 0.5])).isnan()

    def test_signal_share(self) -> None:
        optimal_walks = modular.on_off().optimal_walks
        profile = torch.arange(10.0) / 45
        share = reading.signal_share(torch.stack([profile, profile.flip(0)]), optimal_walks)
        torch.testing.assert_close(share, torch.tensor([20 / 45, 25 / 45]))


class TestAlignment:
    def test_against_the_area_under_the_roc_curve(self) -> None:
        optimum = (random(3, 4, seed=1) > 0.3) * random(3, 4, seed=2)
        found = (2 * random(5, 3, 4)).round()  # with ties
        needed = (optimum != 0).flatten().numpy()
        expected = [roc_auc_score(needed, each.abs().flatten().numpy()) for each in found]
        np.testing.assert_allclose(reading.alignment(found, optimum).numpy(), expected, rtol=1e-12)

    def test_extremes(self) -> None:
        optimum = modular.lagged().optimal_walks
        assert reading.alignment(-optimum, optimum, dims=3) == 1
        assert reading.alignment((optimum == 0).float(), optimum, dims=3) == 0
        assert reading.alignment(torch.ones_like(optimum), optimum, dims=3) == 0.5

    def test_undefined(self) -> None:
        found = random(2, 3)
        assert reading.alignment(found, torch.zeros(2, 3)).isnan()
        assert reading.alignment(found, torch.ones(2, 3)).isnan()
        optimum = torch.tensor([[1.0, 0, 0], [0, 0, 0]])
        found[1, 1] = math.nan
        assert reading.alignment(found, optimum).isnan()

    def test_one_optimum_for_all(self) -> None:
        with pytest.raises(ValueError, match="optimum must have 2 dimensions, got 3"):
            reading.alignment(random(2, 3, 4), random(2, 3, 4))


class TestWhatTheTasksCanTell:
    """On tasks that treat all steps alike one hop has the right map. On lagged modules it must fail."""

    @pytest.mark.parametrize("name", ["averaging", "addition", "subtraction", "multiplication"])
    def test_one_hop_is_enough(self, name: str) -> None:
        task = modular.TASKS[name]()
        assert reading.correlation(task.optimal_walks[0], task.optimum).item() == pytest.approx(1, abs=1e-5)

    def test_one_hop_is_not_enough(self) -> None:
        task = modular.lagged()
        by_lag = reading.correlation(task.optimal_walks, task.optimum)
        assert by_lag.max() < 0.6
        on_off = modular.on_off()
        assert reading.correlation(on_off.optimal_walks[1::2], on_off.optimum).isnan().all()


class Plain(nn.Module):
    """tanh RNN in float64, its walks known from its weights."""

    def __init__(self, *, bias: bool, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.rnn = nn.RNN(3, 8, batch_first=True, bias=bias, dtype=torch.float64)
            self.readout = nn.Linear(8, 2, bias=bias, dtype=torch.float64)

    def forward(self, sequences: Tensor) -> Tensor:
        return self.readout(self.rnn(sequences)[0][:, -1])

    def walks(self) -> Tensor:
        w, u, v = self.rnn.get_parameter("weight_hh_l0"), self.rnn.get_parameter("weight_ih_l0"), self.readout.weight
        return torch.stack([v @ torch.linalg.matrix_power(w, m) @ u for m in range(STEPS)]).detach()


class TestLagResponse:
    def test_of_a_quiet_network_are_its_walks(self) -> None:
        network = Plain(bias=False)
        quiet = torch.zeros(1, STEPS, 3, dtype=torch.float64)
        torch.testing.assert_close(reading.lag_response_by_jacobian(network, quiet), network.walks())
        small = reading.lag_response_by_impulses(network, quiet, size=1e-4)
        torch.testing.assert_close(small, network.walks(), rtol=1e-6, atol=1e-8)

    def test_large_impulses_see_the_saturation(self) -> None:
        network = Plain(bias=False)
        quiet = torch.zeros(1, STEPS, 3, dtype=torch.float64)
        large = reading.lag_response_by_impulses(network, quiet, size=100.0)
        assert large.abs().sum() < 0.2 * network.walks().abs().sum()

    def test_means_over_sequences(self) -> None:
        network, sequences = Plain(bias=True), random(4, STEPS, 3)
        expected = torch.zeros(STEPS, 2, 3, dtype=torch.float64)
        for sequence in sequences:
            jacobian = torch.autograd.functional.jacobian(lambda x: network(x[None])[0], sequence)  # (o, steps, i)
            expected += jacobian.movedim(1, 0).flip(0) / len(sequences)
        torch.testing.assert_close(reading.lag_response_by_jacobian(network, sequences), expected)
        by_impulses = reading.lag_response_by_impulses(network, sequences, size=1e-4)
        torch.testing.assert_close(by_impulses, expected, rtol=1e-6, atol=1e-8)

    def test_impulses_of_a_known_function(self) -> None:
        """y = x_0,last + 2 x_1,first^3: at +-s around 0 the answer to the cube is 2 s^2."""

        def function(sequences: Tensor) -> Tensor:
            return (sequences[..., -1, 0] + 2 * sequences[..., 0, 1] ** 3)[..., None]

        found = reading.lag_response_by_impulses(function, torch.zeros(2, 3, 2), size=0.5)
        expected = torch.zeros(3, 1, 2)
        expected[0, 0, 0], expected[2, 0, 1] = 1, 2 * 0.5**2
        torch.testing.assert_close(found, expected)

    def test_of_a_stack_are_those_of_its_networks(self) -> None:
        networks, sequences = [Plain(bias=True, seed=seed) for seed in range(3)], random(4, STEPS, 3)

        def stack(sequences: Tensor) -> Tensor:
            own = sequences.expand(3, *sequences.shape[-3:])
            return torch.stack([network(each) for network, each in zip(networks, own, strict=True)])

        for response in (reading.lag_response_by_jacobian, reading.lag_response_by_impulses):
            found = response(stack, sequences)
            assert found.shape == (3, STEPS, 2, 3)
            assert not found.requires_grad
            torch.testing.assert_close(found, torch.stack([response(network, sequences) for network in networks]))


def test_the_default_device_does_not_matter() -> None:
    weights = random(4, 4), random(4, 2, seed=1), random(3, 4, seed=2)
    rnn = nn.RNN(2, 4)

    def everything() -> list[Tensor]:
        graph = reading.whole_graph(*weights)
        walks = reading.strongest_walks(graph.weights, graph.inputs, graph.outputs, hops=4, count=2)
        profile = reading.hop_profile(rrnn_ext.hop_decomposition(*weights, hops=STEPS))
        numbers = [walk.weight for each in walks for walk in each]
        return [
            torch.tensor(numbers, device="cpu"),
            reading.mean_lag(profile),
            reading.gini(profile),
            reading.Network.from_module(rnn).walks(STEPS),
            reading.lag_response_by_impulses(lambda sequences: sequences[:, -1], torch.zeros(1, 3, 2, device="cpu")),
        ]

    expected = everything()
    with torch.device("meta"):
        found = everything()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
