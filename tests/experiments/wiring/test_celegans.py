"""C. elegans out of a made-up package cect: its signs, its cells, its shares."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from experiments.tasks.packages import MissingDataError
from experiments.wiring import celegans

NODES = ["MUSCLE", "S1", "I1", "G1", "B1", "M1"]  # pre-synaptic in rows
CHEMICAL = [
    [0, 0, 0, 0, 0, 9],
    [0, 0, 2, 1, 3, 0],
    [4, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 2],
    [0, 0, 0, 0, 0, 5],
    [7, 0, 0, 0, 0, 0],
]
CELLS = """
PREFERRED_HERM_NEURON_NAMES = ["S1", "I1", "G1", "B1", "M1"]
SENSORY_NEURONS_COOK = ["S1", "ELSEWHERE"]
MOTORNEURONS_COOK = ["M1"]
"""


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    cache = tmp_path / "cect" / "cache"
    cache.mkdir(parents=True)
    (tmp_path / "cect" / "__init__.py").touch()
    (tmp_path / "cect" / "Cells.py").write_text(CELLS)
    (cache / "Cook2019HermReader.json").write_text(
        json.dumps({"nodes": NODES, "connections": {"Generic_CS": CHEMICAL, "Generic_GJ": [[1] * 6] * 6}})
    )
    by_transmitter = {"GABA": ("G1", "B1"), "Acetylcholine": ("B1", "S1"), "Glutamate": ("I1",)}
    expressed = {one: [[int(name in cells)] * 4 for name in NODES] for one, cells in by_transmitter.items()}
    (cache / "Wang2024HermReader.json").write_text(json.dumps({"nodes": NODES, "connections": expressed}))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "cect"]:
        monkeypatch.delitem(sys.modules, name)
    celegans.celegans.cache_clear()
    yield
    celegans.celegans.cache_clear()
    for name in ("cect", "cect.Cells"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("shipped")
def test_gaba_alone_inhibits_and_shares_are_those_of_the_neurons() -> None:
    found = celegans.celegans()
    assert found.wiring.names == ("S1", "I1", "G1", "B1", "M1")
    assert found.sources.tolist() == [0]
    assert found.targets.tolist() == [4]
    expected = torch.zeros(5, 5, dtype=torch.float64)
    expected[1:4, 0] = 1
    expected[4] = torch.tensor([0, 1, -2, 5, 0]) / 8  # B1 has acetylcholine besides GABA
    torch.testing.assert_close(found.wiring.weights.to_dense(), expected)
    assert (found.wiring.connections, found.wiring.inhibitory) == (6, 1)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    celegans.celegans.cache_clear()
    with pytest.raises(MissingDataError, match="comes inside the package cect: pip install --no-deps cect"):
        celegans.celegans()


@pytest.mark.skipif(importlib.util.find_spec("cect") is None, reason="cect is not installed")
def test_the_real_one() -> None:
    found = celegans.celegans()
    names = found.wiring.names
    assert (len(names), found.wiring.connections) == (302, 3709)
    assert {"ASHL", "PLMR"} <= {names[unit] for unit in found.sources.tolist()}
    assert {"VA8", "DD1"} <= {names[unit] for unit in found.targets.tolist()}
    weights = found.wiring.weights.to_dense()
    signs = dict(zip(names, (weights.sum(0) >= 0).tolist(), strict=True))
    assert not any(signs[name] for name in ("DD1", "VD3", "RMED", "RIS", "AVL"))
    assert all(signs[name] for name in ("ASHL", "AVAL", "VA8", "SMDDL"))
    assert weights.abs().sum(1).allclose((weights != 0).any(1).double())
