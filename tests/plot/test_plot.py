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
from matplotlib.colors import to_hex
from torch import Tensor

from rrnn_ext import plot
from rrnn_ext.plot import maps, pathways, style
from rrnn_ext.reading import Walk


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
        assert [to_hex(image.get_cmap()(end)) for end in (0.0, 1.0)] == [style.NEGATIVE.lower(), style.POSITIVE.lower()]

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

    def test_all_lines_are_within(self, ax: Axes) -> None:
        for shares in ([0.5, 0.5], [0.1, 0.9], [0.6, 0.4]):
            plot.hop_profile(torch.tensor(shares), ax)
        bottom, top = ax.get_ylim()
        assert (bottom, top > 90) == (0, True)

    def test_further_lines_look_different(self, ax: Axes) -> None:
        for _ in style.LINES:
            plot.hop_profile(torch.tensor([0.5, 0.5]), ax)
        looks = {(line.get_color(), line.get_marker(), str(line.get_linestyle())) for line in ax.lines}
        assert len(looks) == len(style.LINES)

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match=r"shares must be \(L,\), got \(2, 3\)"):
            plot.hop_profile(torch.zeros(2, 3))


class TestStrongestPathways:
    WALKS = (Walk((0, 2, 3), -0.4, (0.5, -0.8)), Walk((1, 2, 3), 0.2, (-0.25, -0.8)))

    def test_each_edge_is_drawn_once_as_strong_as_its_strongest_walk(self, ax: Axes) -> None:
        assert plot.strongest_pathways(self.WALKS, ax) is ax
        drawn = {
            tuple(np.asarray(line.get_xydata()).T.flatten().tolist()): (
                line.get_color(),
                line.get_linestyle(),
                line.get_linewidth(),
            )
            for line in ax.lines
        }
        assert drawn == {  # two units to the left, above and below the one in the middle
            (0, 1, 0.5, 0.0): (style.POSITIVE, "-", pathways.THICKEST),
            (0, 1, -0.5, 0.0): (style.NEGATIVE, "--", pathways.THICKEST / 2),
            (1, 2, 0.0, 0.0): (style.NEGATIVE, "--", pathways.THICKEST),
        }

    def test_units_have_their_names(self, ax: Axes) -> None:
        plot.strongest_pathways(self.WALKS, ax, names=["a", "b", "c", "d"])
        assert [(text.get_position()[0], text.get_text()) for text in ax.texts] == [
            (0, "a"), (0, "b"), (1, "c"), (2, "d"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("walks", "got"),
        [((), "no walk"), ((Walk((0,), 1.0, ()),), r"\[0\]"), ((*WALKS, Walk((0, 1), 1.0, (1.0,))), r"\[1, 2\]")],
    )
    def test_refuses(self, walks: tuple[Walk, ...], got: str) -> None:
        with pytest.raises(ValueError, match=f"walks must be of one number of edges, at least 1, got {got}"):
            plot.strongest_pathways(walks)


class TestSpectrum:
    def test_eigenvalues_in_and_out_of_the_circle(self, ax: Axes) -> None:
        weight = torch.zeros(4, 4)
        weight[:2, :2] = torch.tensor([[0.0, -0.5], [0.5, 0.0]])  # half a turn: ±i / 2
        weight[2, 2], weight[3, 3] = 1.0, -3.0
        assert plot.spectrum(weight, ax, alpha=2.0) is ax
        found = {
            (round(x, 9), round(y, 9), label)
            for points in ax.collections
            for label in [str(points.get_label())]
            for x, y in np.asarray(points.get_offsets()).tolist()
        }
        assert found == {(0, 1, "diverges"), (0, -1, "diverges"), (2, 0, "diverges"), (-6, 0, "diverges")}
        plot.spectrum(weight[:2, :2], ax)
        assert [points.get_label() for points in ax.collections][-1] == "converges"

    def test_nothing_is_outside(self, ax: Axes) -> None:
        plot.spectrum(torch.tensor([[0.0, -2.0], [2.0, 0.0]]), ax)
        assert ax.get_xlim() == ax.get_ylim()
        assert ax.get_ylim()[1] > 2

    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            (torch.zeros(2, 3), r"weight_hh must be \(n, n\) with n at most 4096, got \(2, 3\)"),
            (torch.zeros(1, 1).expand(5000, 5000), r"n at most 4096, got \(5000, 5000\)"),
            (torch.eye(2).to_sparse(), "weight_hh must be dense, got torch.sparse_coo"),
            (torch.tensor([[math.inf]]), "must be finite, got NaN or Inf"),
        ],
    )
    def test_refuses(self, weight: Tensor, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            plot.spectrum(weight)


class TestRatesByLayer:
    def test_means_and_bands(self, ax: Axes) -> None:
        layers = [torch.arange(11.0), torch.full((3,), 7.0)]
        assert plot.rates_by_layer(layers, ax, asked=5.0, label="mine") is ax
        asked, line = ax.lines
        assert list(np.asarray(asked.get_ydata())) == [5, 5]
        assert np.asarray(line.get_xydata()).tolist() == [[1, 5], [2, 7]]
        assert line.get_label() == "mine"
        (band,) = ax.collections
        corners = {tuple(corner) for corner in np.asarray(band.get_paths()[0].vertices).tolist()}
        assert corners == {(1.0, 1.0), (1.0, 9.0), (2.0, 7.0)}  # of 0 … 10, a tenth is below 1, and one above 9

    def test_silent_layers_are_seen_above_the_axis(self, ax: Axes) -> None:
        plot.rates_by_layer([torch.full((2,), 20.0), torch.full((2,), 19.0)], ax)
        assert -2 < ax.get_ylim()[0] < 0
        plot.rates_by_layer([torch.zeros(2)] * 2, ax)
        bottom, top = ax.get_ylim()
        assert -2 < bottom < 0 < 20 < top

    def test_a_rate_for_each_layer_has_no_band(self, ax: Axes) -> None:
        plot.rates_by_layer(torch.tensor([3.0, 4.0]), ax)
        assert len(ax.collections) == 0

    def test_what_was_asked_takes_no_look(self, ax: Axes) -> None:
        for _ in style.LINES:
            plot.rates_by_layer([torch.ones(2)], ax, asked=1.0)
        looks = {(line.get_color(), line.get_marker()) for line in ax.lines if line.get_color() != style.PALE}
        assert len(looks) == len(style.LINES)

    @pytest.mark.parametrize(
        ("rates", "message"),
        [
            ([], "rates must have at least one layer, got none"),
            ([torch.ones(2), torch.ones(0)], r"rates of layer 2 must be \(units,\) with at least one, got \(0,\)"),
            (torch.ones(1, 2, 3), r"rates of layer 1 must be \(units,\) with at least one, got \(2, 3\)"),
        ],
    )
    def test_refuses(self, rates: list[Tensor], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            plot.rates_by_layer(rates)


@pytest.mark.parametrize(
    "module",
    [
        "rrnn_ext.plot.eigenvalues",
        "rrnn_ext.plot.lags",
        "rrnn_ext.plot.maps",
        "rrnn_ext.plot.pathways",
        "rrnn_ext.plot.rates",
        "rrnn_ext.reading.comparison",
        "rrnn_ext.reading.lags",
        "rrnn_ext.reading.maps",
        "rrnn_ext.reading.network",
        "rrnn_ext.reading.report",
        "rrnn_ext.reading.response",
        "rrnn_ext.reading.whole_graph",
    ],
)
def test_examples(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some save what they draw
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried > 0
    assert failed == 0
