"""Pictures of walks: what is drawn is what was given, into the Axes that were given or into new ones."""

from __future__ import annotations

import doctest
import importlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from torch import Tensor

from rrnn_ext import plot
from rrnn_ext.plot import maps, style


@pytest.fixture(autouse=True)
def no_figures_left() -> Iterator[None]:
    yield
    pyplot.close("all")


@pytest.fixture
def ax() -> Axes:
    return style.own_axes()


def squares(ax: Axes) -> list[tuple[float, float, float, bool]]:
    """The centre of each square, x and y, its area, and whether it is filled."""
    found = []
    for patches in ax.collections:
        assert isinstance(patches, PatchCollection)
        filled = bool((np.asarray(patches.get_facecolor())[:, :3] < 1).any())
        for path in patches.get_paths():
            box = path.get_extents()
            found.append(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2, box.width * box.height, filled))
    return sorted(found)


class TestInfluenceMap:
    def test_area_is_size_and_filling_is_sign(self, ax: Axes) -> None:
        values = torch.tensor([[1.0, -0.25], [0.0, 0.5]])
        assert plot.influence_map(values, ax) is ax
        whole = 0.92**2
        expected = [(0, 0, whole, True), (1, 0, whole / 4, False), (1, 1, whole / 2, True)]
        for found, wanted in zip(squares(ax), expected, strict=True):
            assert found == pytest.approx(wanted)

    def test_outputs_are_rows_from_the_top(self, ax: Axes) -> None:
        plot.influence_map(torch.tensor([[1.0, 2.0, 3.0]]), ax)
        assert [square[0] for square in squares(ax)] == pytest.approx([0, 1, 2])
        bottom, top = ax.get_ylim()
        assert top < 0 < bottom

    def test_a_size_for_several_maps(self, ax: Axes) -> None:
        plot.influence_map(torch.tensor([[1.0, 8.0]]), ax, largest=4.0)
        areas = [square[2] for square in squares(ax)]
        assert areas == pytest.approx([0.92**2 / 4, 0.92**2]), "what is larger fills its cell"

    def test_new_axes_are_pyplots(self) -> None:
        ax = plot.influence_map(torch.eye(2))
        assert pyplot.gcf() is ax.figure

    def test_nothing_to_draw(self, ax: Axes) -> None:
        plot.influence_map(torch.zeros(2, 3), ax)
        assert squares(ax) == []

    def test_large_maps_are_images(self, ax: Axes) -> None:
        values = torch.randn(120, 120, dtype=torch.bfloat16)
        assert values.numel() > maps.ENTRIES
        plot.influence_map(values, ax)
        (image,) = ax.images
        np.testing.assert_array_equal(np.asarray(image.get_array()), values.double().numpy())
        low, high = image.get_clim()
        assert -low == high == values.abs().max().item()

    def test_gradients_stay_out(self, ax: Axes) -> None:
        plot.influence_map(torch.eye(2).requires_grad_(), ax)
        assert len(squares(ax)) == 2

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (torch.zeros(2), r"values must be \(o, i\), got \(2,\)"),
            (torch.zeros(1, 2, 2), r"values must be \(o, i\), got \(1, 2, 2\)"),
            (torch.tensor([[1.0, math.nan]]), "must be finite, got NaN or Inf"),
        ],
    )
    def test_refuses(self, values: Tensor, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            plot.influence_map(values)


class TestWalksByLag:
    @pytest.mark.parametrize("columns", [1, 2, 4, 10])
    def test_every_lag_has_its_map_and_its_number(self, ax: Axes, columns: int) -> None:
        lags, outputs, inputs = 4, 2, 3
        walks = torch.arange(1.0, 1 + lags * outputs * inputs).reshape(lags, outputs, inputs)
        assert plot.walks_by_lag(walks, ax, columns=columns) is ax
        assert [text.get_text() for text in ax.texts] == ["0", "1", "2", "3"]
        found = squares(ax)
        assert len(found) == walks.numel()
        frames = {(patch.get_x(), patch.get_y()) for patch in ax.patches}  # type: ignore[attr-defined]
        assert len({x for x, _ in frames}) == min(columns, lags)
        assert len({y for _, y in frames}) == math.ceil(lags / columns)
        # By size, the squares are in the order of lag, output, input: each is in the frame of its lag.
        by_size = sorted(found, key=lambda square: square[2])
        for entry, (x, y, area, _) in enumerate(by_size):
            frame = ax.patches[entry // (outputs * inputs)]
            output, column = divmod(entry % (outputs * inputs), inputs)
            left, top = frame.get_x(), frame.get_y()  # type: ignore[attr-defined]
            assert (x - left, y - top) == pytest.approx((column + 0.5, output + 0.5))
            assert area == pytest.approx(0.92**2 * (entry + 1) / walks.numel())

    def test_nothing_is_outside(self, ax: Axes) -> None:
        plot.walks_by_lag(torch.ones(7, 2, 3), ax, columns=3)
        left, right = ax.get_xlim()
        bottom, top = ax.get_ylim()
        for x, y, _, _ in squares(ax):
            assert left < x < right
            assert top < y < bottom

    @pytest.mark.parametrize(
        ("walks", "columns", "message"),
        [
            (torch.zeros(2, 2), 10, r"walks must be \(L, o, i\) with at least one lag, got \(2, 2\)"),
            (torch.zeros(0, 2, 2), 10, r"at least one lag, got \(0, 2, 2\)"),
            (torch.zeros(2, 2, 2), 0, "columns must be at least 1, got 0"),
        ],
    )
    def test_refuses(self, walks: Tensor, columns: int, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            plot.walks_by_lag(walks, columns=columns)


class TestHopProfile:
    def test_shares_in_per_cent(self, ax: Axes) -> None:
        assert plot.hop_profile(torch.tensor([0.5, 0.3, 0.2]), ax, label="mine") is ax
        (line,) = ax.lines
        assert line.get_label() == "mine"
        np.testing.assert_allclose(np.asarray(line.get_xydata()), [[0, 50], [1, 30], [2, 20]], rtol=1e-6)
        assert ax.get_ylim()[0] == 0

    def test_further_lines_look_different(self, ax: Axes) -> None:
        for _ in style.LINES:
            plot.hop_profile(torch.tensor([0.5, 0.5]), ax)
        looks = {(line.get_color(), line.get_marker(), str(line.get_linestyle())) for line in ax.lines}
        assert len(looks) == len(style.LINES)

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match=r"shares must be \(L,\), got \(2, 3\)"):
            plot.hop_profile(torch.zeros(2, 3))


@pytest.mark.parametrize(
    "module",
    [
        "rrnn_ext.plot.lags",
        "rrnn_ext.plot.maps",
        "rrnn_ext.reading.comparison",
        "rrnn_ext.reading.lags",
        "rrnn_ext.reading.maps",
        "rrnn_ext.reading.network",
        "rrnn_ext.reading.report",
        "rrnn_ext.reading.response",
    ],
)
def test_examples(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some save what they draw
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried > 0
    assert failed == 0
