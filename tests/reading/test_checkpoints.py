"""Networks read back out of checkpoints: the walks are those of the modules that were saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import rrnn_ext
from rrnn_ext.reading import CheckpointError, Network

HOPS = 5


class Model(nn.Module):
    def __init__(self, encoder: nn.Module, hidden: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(hidden, 3)


def state(encoder: nn.Module | None = None, hidden: int = 6) -> dict[str, Tensor]:
    return Model(encoder or nn.RNN(4, hidden), hidden).state_dict()


def saved(folder: Path, content: object, name: str = "model.pt") -> Path:
    torch.save(content, folder / name)
    return folder / name


def total(network: Network) -> float:
    weights = network.weight_hh, network.weight_in, network.weight_out
    return rrnn_ext.resolvent_penalty(*weights, hops=HOPS).item()


class TestReads:
    @pytest.mark.parametrize(
        "encoder",
        [
            nn.RNN(4, 6),
            nn.RNNCell(4, 6),
            nn.RNN(4, 6, num_layers=3, nonlinearity="relu", bias=False),
            nn.GRU(4, 6),
            nn.GRU(4, 6, num_layers=2),
            nn.LSTM(4, 6),
            nn.LSTM(4, 6, num_layers=2),
            nn.LSTMCell(4, 6),
            nn.RNN(4, 3, bidirectional=True),
            nn.GRU(4, 3, num_layers=2, bidirectional=True),
            nn.LSTM(4, 9, proj_size=6),
            nn.LSTM(4, 5, num_layers=3, proj_size=3, bidirectional=True),
        ],
        ids=str,
    )
    def test_the_graphs_of_the_module(self, tmp_path: Path, encoder: nn.Module) -> None:
        model = Model(encoder, 6).double()
        network = Network.from_checkpoint(saved(tmp_path, model.state_dict()))
        assert len(network.graphs) == len(network.weight_hh) == len(network.weight_in) == len(network.weight_out)
        penalty = rrnn_ext.ResolventPenalty(encoder, model.head, hops=HOPS)
        assert total(network) == pytest.approx(penalty().item(), rel=1e-12)

    def test_the_graphs_have_their_own_names(self, tmp_path: Path) -> None:
        weights = {name: weight.double() for name, weight in state(nn.GRU(4, 5, bidirectional=True), 10).items()}
        network = Network.from_checkpoint(saved(tmp_path, weights))
        found = dict(zip(network.graphs, network.walks(HOPS), strict=True))
        assert len(found) == 6
        for half, (direction, suffix) in enumerate({"forward": "", "backward": "_reverse"}.items()):
            v = weights["head.weight"][:, 5 * half : 5 * half + 5]
            for gate, name in enumerate(("reset gate", "update gate", "new gate")):
                rows = slice(5 * gate, 5 * gate + 5)
                w, u = (weights[f"encoder.weight_{kind}_l0{suffix}"][rows] for kind in ("hh", "ih"))
                walks = torch.stack([v @ torch.linalg.matrix_power(w, lag) @ u for lag in range(HOPS)])
                torch.testing.assert_close(found[f"{direction}: {name}"], walks)

    def test_a_plain_rnn_by_hand(self, tmp_path: Path) -> None:
        weights = state()
        network = Network.from_checkpoint(saved(tmp_path, weights))
        w, u, v = (
            weights[name].double().numpy() for name in ("encoder.weight_hh_l0", "encoder.weight_ih_l0", "head.weight")
        )
        walks = [v @ np.linalg.matrix_power(w, hop) @ u for hop in range(HOPS)]
        found = rrnn_ext.hop_decomposition(network.weight_hh, network.weight_in, network.weight_out, hops=HOPS)
        np.testing.assert_allclose(found[0].numpy(), walks, rtol=1e-12, atol=1e-15)
        assert network.names == {
            "weight_hh": "encoder.weight_hh_l0",
            "weight_in": "encoder.weight_ih_l0",
            "weight_out": "head.weight",
        }

    def test_safetensors_hold_the_same(self, tmp_path: Path) -> None:
        weights = state(nn.GRU(4, 6))
        save_file(weights, tmp_path / "model.safetensors", metadata={"steps": "7", "format": "pt"})
        network = Network.from_checkpoint(tmp_path / "model.safetensors")
        assert network.steps == 7
        assert total(network) == total(Network.from_checkpoint(saved(tmp_path, weights)))

    @pytest.mark.parametrize("key", ["steps", "hops", "seq_len", "sequence_length"])
    def test_a_nested_state_beside_an_optimiser(self, tmp_path: Path, key: str) -> None:
        model = Model(nn.RNN(4, 6), 6)
        optimiser = torch.optim.Adam(model.parameters())
        model.head(model.encoder(torch.ones(2, 3, 4))[0]).sum().backward()
        optimiser.step()
        content = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "config": {key: 12}}
        network = Network.from_checkpoint(saved(tmp_path, content))
        assert network.steps == 12
        assert network.names["weight_hh"] == "model.encoder.weight_hh_l0"
        assert total(network) == total(Network.from_checkpoint(saved(tmp_path, model.state_dict())))

    def test_tells_no_length_where_there_is_none(self, tmp_path: Path) -> None:
        assert Network.from_checkpoint(saved(tmp_path, {**state(), "step": 3})).steps is None

    def test_weights_of_other_names_by_shape(self, tmp_path: Path) -> None:
        w, u, v = torch.randn(6, 6), torch.randn(6, 4), torch.randn(3, 6)
        network = Network.from_checkpoint(saved(tmp_path, {"cell/W": w, "cell/U": u, "out": v, "bias": torch.zeros(6)}))
        assert torch.equal(network.weight_hh[0], w.double())
        assert torch.equal(network.weight_in[0], u.double())
        assert torch.equal(network.weight_out[0], v.double())

    @pytest.mark.parametrize("prefix", ["", "cell."])
    def test_the_names_of_this_library(self, tmp_path: Path, prefix: str) -> None:
        w, u, v = torch.randn(6, 6), torch.randn(6, 6), torch.randn(3, 6)
        other = {"other.weight_ih_l0": torch.ones(18, 6)}
        named = {f"{prefix}weight_hh": w, f"{prefix}weight_in": u, f"{prefix}weight_out": v}
        network = Network.from_checkpoint(saved(tmp_path, {**named, **other}))
        assert torch.equal(network.weight_in[0], u.double())
        assert torch.equal(network.weight_out[0], v.double())

    def test_gates_under_other_names(self, tmp_path: Path) -> None:
        w, u, v = torch.randn(18, 6), torch.randn(18, 4), torch.randn(3, 6)
        network = Network.from_checkpoint(
            saved(tmp_path, {"W": w, "U": u, "V": v, "X": torch.zeros(6, 4)}), weight_hh="W"
        )
        assert torch.equal(network.weight_in.flatten(0, 1), u.double())
        assert network.names == {"weight_hh": "W", "weight_in": "U", "weight_out": "V"}

    def test_names_that_are_given(self, tmp_path: Path) -> None:
        first, second = nn.RNN(4, 6), nn.RNN(4, 6)
        weights = {
            **nn.ModuleDict({"a": first, "b": second}).state_dict(),
            "p": torch.ones(2, 6),
            "q": torch.zeros(5, 6),
        }
        network = Network.from_checkpoint(saved(tmp_path, weights), weight_hh="b.weight_hh_l0", weight_out="p")
        assert torch.equal(network.weight_hh[0], weights["b.weight_hh_l0"].double())
        assert torch.equal(network.weight_in[0], weights["b.weight_ih_l0"].double())
        assert network.weight_out.shape == (1, 2, 6)
        other = Network.from_checkpoint(
            saved(tmp_path, weights), weight_hh="b.weight_hh_l0", weight_in="a.weight_ih_l0", weight_out="p"
        )
        assert torch.equal(other.weight_in[0], weights["a.weight_ih_l0"].double())

    def test_units_as_outputs(self, tmp_path: Path) -> None:
        for rnn in (nn.LSTM(4, 6), nn.GRU(4, 3, bidirectional=True), nn.LSTM(4, 6, proj_size=2, num_layers=2)):
            network = Network.from_checkpoint(saved(tmp_path, rnn.state_dict()), units_are_outputs=True)
            own = Network.from_module(rnn.double())
            assert torch.equal(network.walks(HOPS), own.walks(HOPS))
            assert "weight_out" not in network.names
        # Beside a read-out, too: lag 0 of a plain RNN is what the inputs give to the units.
        weights = state()
        network = Network.from_checkpoint(saved(tmp_path, weights), units_are_outputs=True)
        assert torch.equal(network.walks(1)[0, 0], weights["encoder.weight_ih_l0"].double())

    def test_repr_is_short(self) -> None:
        assert repr(Network.from_module(nn.RNN(3, 40))) == "Network(40 hidden units, 3 inputs, 40 outputs)"


class TestRefuses:
    @pytest.mark.parametrize(
        ("content", "names", "message"),
        [
            ({}, {}, r"weight_hh is missing.*\(no tensors\)"),
            (nn.Linear(3, 2).state_dict(), {}, r"weight_hh is missing.*no tensor is \(n, n\).*weight \(2, 3\)"),
            (
                nn.RNN(4, 6).state_dict(),
                {},
                r"read-out is missing: of matrices \(o, 6\), none fits.*weight_hh_l0 \(6, 6\)",
            ),
            (
                {**state(), "other.weight": torch.ones(2, 6)},
                {},
                r"2 fit \(head.weight, other.weight\); name it by --weight-out, or give --units-are-outputs",
            ),
            (
                {
                    name: weight
                    for name, weight in state(nn.RNN(4, 6, bidirectional=True), 12).items()
                    if name != "encoder.weight_ih_l0_reverse"
                },
                {},
                "weight_hh_l0_reverse has no encoder.weight_ih_l0_reverse beside it",
            ),
            (
                {name: weight for name, weight in state(nn.GRU(4, 6, 3)).items() if "_l1" not in name},
                {},
                "is of a network that has weight_ih_l1 too, and there is none",
            ),
            (
                {
                    **state(nn.GRU(4, 6)),
                    "encoder.weight_hr_l0": torch.ones(2, 6),
                    "encoder.weight_hh_l0": torch.ones(18, 2),
                },
                {},
                "carries 2 projections of 6 units, and only an LSTM's are read",
            ),
            (
                {**state(nn.GRU(4, 6)), "encoder.weight_hr_l0": torch.ones(6, 6)},
                {},
                "encoder.weight_hr_l0 has no place in the GRU of encoder.weight_hh_l0",
            ),
            (
                {name: weight for name, weight in state(nn.GRU(4, 6, 2)).items() if "_l0" not in name},
                {},
                "of a first layer there is no weight_hh, only encoder.weight_ih_l1, encoder.weight_hh_l1",
            ),
            (
                nn.ModuleDict({"a": nn.RNN(4, 6), "b": nn.RNN(4, 6)}).state_dict(),
                {},
                "more than one.*a.weight_hh_l0, b.weight",
            ),
            (state(), {"weight_out": "tail"}, "weight_out: no tensor is called 'tail'.*head.weight"),
            (
                state(),
                {"weight_out": "encoder.weight_ih_l0"},
                r"read-out must be \(o, 6\).*got encoder.weight_ih_l0 \(6, 4\)",
            ),
            (state(), {"weight_in": "head.weight"}, r"head.weight must be \(6, i\) to match.*got \(3, 6\)"),
            (
                state(),
                {"weight_hh": "encoder.weight_ih_l0", "weight_in": "head.weight"},
                r"must be \(n, n\), or \(3n, n\)",
            ),
            (state(), {"weight_out": "head.bias"}, r"must be a floating-point matrix, got head.bias \(3,\)"),
            ({"rnn.weight_hh": torch.ones(6, 6)}, {}, "has no rnn.weight_ih beside it; name it by --weight-in, of"),
            ([torch.ones(2, 2)], {}, "must hold a state_dict.*got list"),
            (nn.RNN(4, 6), {}, "does not load as plain tensors.*weights_only=True.*state_dict.*Network.from_module"),
            (state(), {"weight_out": "head.weight", "units_are_outputs": True}, "weight_out must be left out"),
        ],
    )
    def test_with_what_is_missing(self, tmp_path: Path, content: object, names: dict[str, Any], message: str) -> None:
        path = saved(tmp_path, content)
        with pytest.raises(CheckpointError, match=f"(?s){message}"):
            Network.from_checkpoint(path, **names)

    @pytest.mark.parametrize(
        ("compute", "message"),
        [
            (lambda model: spectral_norm(model.encoder, "weight_hh_l0"), "weight_hh is .*weight_hh_l0.original"),
            (lambda model: nn.utils.spectral_norm(model.encoder, "weight_hh_l0"), "weight_hh is .*weight_hh_l0_orig"),
            (lambda model: spectral_norm(model.head), "weight_out is .*weight.original"),
            (lambda model: weight_norm(model.head), "weight_out is .*weight.original1"),
            (lambda model: nn.utils.weight_norm(model.head), "weight_out is .*head.weight_v"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::FutureWarning")
    def test_a_tensor_from_which_the_weight_was_computed(
        self, tmp_path: Path, compute: Callable[[Model], object], message: str
    ) -> None:
        """It has the weight's shape, and other walks."""
        model = Model(nn.RNN(4, 6), 6)
        compute(model)
        with pytest.raises(CheckpointError, match=f"(?s){message}.*remove_parametrizations"):
            Network.from_checkpoint(saved(tmp_path, model.state_dict()))

    def test_a_bias_that_does_not_fit(self, tmp_path: Path) -> None:
        weights = state()
        weights["encoder.bias_hh_l0"] = torch.ones(5)
        with pytest.raises(CheckpointError, match=r"bias_hh_l0 must be \(6,\) to match.*got \(5,\)"):
            Network.from_checkpoint(saved(tmp_path, weights))

    def test_layers_that_do_not_fit(self, tmp_path: Path) -> None:
        weights = state(nn.RNN(4, 6, num_layers=2))
        weights["encoder.weight_ih_l1"] = torch.ones(6, 5)
        with pytest.raises(
            CheckpointError, match=r"weight_ih_l1 must take the 6 units of the layer below.*got \(6, 5\)"
        ):
            Network.from_checkpoint(saved(tmp_path, weights))

    @pytest.mark.parametrize("name", ["text.pt", "text.safetensors"])
    def test_files_that_are_no_checkpoint(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(CheckpointError, match="is not a file"):
            Network.from_checkpoint(tmp_path / name)
        (tmp_path / name).write_text("nothing of the kind")
        with pytest.raises(CheckpointError, match="does not load as"):
            Network.from_checkpoint(tmp_path / name)
