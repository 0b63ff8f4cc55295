"""Figures and pages: legible, with lines that differ, data that are what is drawn, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from matplotlib.text import Text
from numpy.typing import NDArray
from support.made_up_networks import curve, record

from experiments.claims import tables
from experiments.claims.summaries import Table
from experiments.pages import report
from experiments.pages.exhibits import of_folder
from experiments.pages.figures import curves, looks, maps
from experiments.tasks.modular import TASKS
from experiments.training import results, stacked
from experiments.training.regularisers import REGULARISERS
from experiments.training.results import Record
from rrnn_ext.plot import style
from rrnn_ext.reading.exhibit import DPI, Exhibit
from rrnn_ext.reading.sheet import Sheet

ERRORS = {1e-3: (0.1, 0.11, 0.12), 1e-2: (0.08, 0.09, 0.085), 1e-1: (0.5, 0.7, 0.6)}
SHARES = {"L1": 0.2, "R-RNN": 0.03}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    found = curve("averaging", "none", {0.0: (0.1, 0.12, 0.11)})
    found += curve("lagged", "none", {0.0: (0.2, 0.22, 0.21)}, correlation=0.97)
    for name in ("L1", "R-RNN", "R-RNN per hop"):
        found += curve("averaging", name, ERRORS, communication_sparsity=SHARES.get(name, 0.1))
        found += curve("lagged", name, ERRORS)
        found += curve("digits", name, ERRORS, hop_profile=(1 / 8,) * 8)
    return found


@pytest.fixture(scope="module")
def folder(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep's folder with those records; the weights are as they were drawn."""
    path = tmp_path_factory.mktemp("sweep")
    for task, sizes in {"averaging": (16, 4, 10), "lagged": (16, 4, 10), "digits": (8, 10, 8)}.items():
        of_task = [record for record in records if record.task == task]
        inputs, outputs, steps = sizes
        networks = stacked.new_networks([r.seed for r in of_task], inputs=inputs, hidden=64, outputs=outputs)
        results.append(path, of_task, networks, steps=steps)
    return path


@pytest.fixture(scope="module")
def exhibits(folder: Path, records: list[Record]) -> dict[str, Exhibit]:
    return {exhibit.name: exhibit for exhibit in of_folder(folder, Table(records))}


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


class TestExhibits:
    def test_all_that_the_networks_can_fill(self, exhibits: dict[str, Exhibit]) -> None:
        assert set(exhibits) == {
            "error_by_strength",
            "error_by_strength_real",
            "error_by_sparsity",
            "correlation_by_strength",
            "correlations",
            "influence_maps",
            "maps_by_lag",
            "lag_responses",
            "hop_profiles",
        }

    def test_saved_with_their_data(self, exhibits: dict[str, Exhibit], tmp_path: Path) -> None:
        for exhibit in exhibits.values():
            exhibit.save(tmp_path / "made")
            pixels = imread(tmp_path / "made" / f"{exhibit.name}.png")
            assert pixels.shape[1] == int(style.WIDTH * DPI)
            assert pixels.shape[0] < 11 * DPI, "longer than a page"
            assert (tmp_path / "made" / f"{exhibit.name}.csv").read_text() == exhibit.csv()

    def test_captions_say_something_and_end(self, exhibits: dict[str, Exhibit]) -> None:
        for exhibit in exhibits.values():
            assert len(exhibit.caption) > 60
            assert exhibit.caption.endswith(".")
            assert not exhibit.title.endswith(".")

    def test_text_is_large_enough_for_print(self, exhibits: dict[str, Exhibit]) -> None:
        for exhibit in exhibits.values():
            texts = [text for text in exhibit.figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
            assert min(float(text.get_fontsize()) for text in texts) >= 6

    def test_error_by_strength_is_the_geometric_mean(self, exhibits: dict[str, Exhibit]) -> None:
        rows = read(exhibits["error_by_strength"].csv())
        assert {row["task"] for row in rows} == {"averaging", "lagged"}
        for row in rows:
            if row["regulariser"] != "none":
                expected = np.prod(ERRORS[float(row["beta"])]) ** (1 / 3)
                assert float(row["value"]) == pytest.approx(expected, rel=1e-5)
            assert float(row["value_low"]) < float(row["value"]) < float(row["value_high"])
            assert row["networks"] == "3"
        assert [row["regulariser"] for row in rows].count("none") == 2

    def test_every_mean_is_a_marker(self, exhibits: dict[str, Exhibit]) -> None:
        axes = exhibits["error_by_strength"].figure.axes[0]
        drawn = sorted(
            tuple(np.asarray(line.get_ydata(), dtype=float)) for line in axes.lines if line.get_marker() != ""
        )
        rows = [row for row in read(exhibits["error_by_strength"].csv()) if row["task"] == "averaging"]
        lines = {
            name: [float(row["value"]) for row in rows if row["regulariser"] == name]
            for name in ("L1", "R-RNN", "R-RNN per hop")
        }
        shown = [line for line in drawn if len(line) == 3]
        np.testing.assert_allclose(shown, sorted(map(tuple, lines.values())), rtol=1e-5)

    def test_networks_that_learnt_nothing_are_left_out_of_the_comparison(self, records: list[Record]) -> None:
        dead = curve("averaging", "L1", {1.0: (0.99, 1.0)})
        rows = read(curves.error_by_sparsity(Table(records + dead), ["averaging"]).csv())
        assert ("L1", "1") not in {(row["regulariser"], row["beta"]) for row in rows}
        assert {row["off_support"] for row in rows if row["regulariser"] == "L1"} == {"0.2"}

    def test_the_bayes_error_is_within_the_axis(self) -> None:
        table = Table(curve("multiplication", "L1", {0.01: (0.3, 0.31), 0.1: (0.5, 0.6)}))
        low, high = curves.error_by_strength(table, ["multiplication"]).figure.axes[0].get_ylim()
        assert low < TASKS["multiplication"]().bayes_mse < 1 < high

    def test_no_wrong_answers_leave_the_axis_alone(self) -> None:
        errors = {0.01: (0.0, 0.0), 0.1: (0.5, 0.6)}
        low, high = curves.error_by_strength(Table(curve("digits", "L1", errors)), ["digits"]).figure.axes[0].get_ylim()
        assert 0.3 < low < 0.55 < high

    def test_lines_of_sparsity_break_where_it_is_lost(self) -> None:
        """Small shares are drawn at the edge with their bars, and no line leads from there to a map that is noise."""
        records = curve("averaging", "none", {0.0: (0.1, 0.1, 0.1)})
        for beta, share in {0.01: (2e-4, 3e-4, 3e-4), 0.1: (0.7, 0.8, 0.7), 1.0: (0.6, 0.9, 0.6)}.items():
            for seed in range(3):
                records.append(record("averaging", "L1", beta, seed, 0.1, communication_sparsity=share[seed]))
        axes = curves.error_by_sparsity(Table(records), ["averaging"]).figure.axes[0]
        places = [list(np.asarray(line.get_xdata(), dtype=float)) for line in axes.lines if line.get_marker() == "^"]
        assert places == [pytest.approx([0.1, 1e-3]), pytest.approx([np.cbrt(0.392), np.cbrt(0.324)])]
        ends = np.concatenate([path.vertices for bars in axes.collections for path in bars.get_paths()])
        assert ends[:, 0].min() >= 1e-3

    @pytest.mark.parametrize("seeds", [1, 2])
    def test_few_seeds_are_drawn_without_a_band(self, seeds: int) -> None:
        errors = (0.1, 0.2)[:seeds]
        table = Table([*curve("averaging", "none", {0.0: errors}), *curve("averaging", "L1", {0.1: errors})])
        exhibit = curves.error_by_strength(table, ["averaging"])
        assert exhibit.png()
        assert [row["value_low"] for row in read(exhibit.csv())] == ["nan", "nan"]


class TestLooks:
    def test_regularisers_differ_by_colour_marker_and_dash(self) -> None:
        names = [name for name in REGULARISERS if name != "none"]
        found = [looks.look(name, names) for name in names]
        assert len({look.color for look in found}) == len(found)
        assert len({look.marker for look in found}) == len(found)

    def test_added_ones_get_a_look_of_their_own(self) -> None:
        names = ["L1", "mine", "yours"]
        assert len({looks.look(name, names) for name in names}) == 3

    def test_colours_are_told_apart_without_red_cones(self) -> None:
        """Each pair differs in what a protanope sees (the blue-yellow axis and lightness), or by its marker's shape."""
        # Viénot, Brettel & Mollon 1999: linear RGB to LMS, L replaced by what M and S predict, and back.
        lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
        without_l = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
        matrix = np.linalg.inv(lms) @ without_l @ lms

        def seen(colour: str) -> NDArray[np.float64]:
            rgb = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
            return matrix @ rgb**2.2

        main = [looks.look(name, []) for name in ("L1", "R-RNN", "R-RNN per hop")]
        distances = [np.linalg.norm(seen(a.color) - seen(b.color)) for a in main for b in main if a != b]
        assert min(distances) > 0.2


class TestHinton:
    def test_area_and_filling(self) -> None:
        map_ = torch.tensor([[1.0, -0.25], [0.0, 0.5]])
        exhibit = maps.influence_maps({"task": {"optimum": map_}}, "A map.")
        positive, negative = exhibit.figure.axes[0].collections
        areas = [[path.get_extents().width ** 2 for path in patches.get_paths()] for patches in (positive, negative)]
        assert areas[0] == pytest.approx([0.92**2, 0.92**2 / 2])
        assert areas[1] == pytest.approx([0.92**2 / 4])
        assert [row["value"] for row in exhibit.rows] == [1.0, -0.25, 0.0, 0.5]


class TestSheets:
    def test_of_a_task(self, records: list[Record]) -> None:
        sheet = tables.of_task(Table(records), "averaging")
        assert sheet.header[:4] == ["penalty", "β", "test MSE", "R_io"]
        assert [tuple(row[:2]) for row in sheet.rows[:3]] == [("none", "0"), ("L1", "0.001"), ("L1", "0.01")]
        assert tables.of_task(Table(records), "digits").header[2] == "wrong answers"

    def test_of_networks_without_a_profile(self) -> None:
        dead = record("averaging", "L1", 1.0, 0, 1.0, hop_profile=(math.nan,) * 10)
        brief, full = (tables.of_task(Table([dead]), "averaging", brief=brief) for brief in (True, False))
        assert dict(zip(brief.header, brief.rows[0], strict=True))["lags"] == ""
        assert dict(zip(full.header, full.rows[0], strict=True))["hop profile"] == " ".join(["nan"] * 10)

    def test_markdown_and_csv(self, tmp_path: Path) -> None:
        sheet = Sheet("title", "text", ["a", "|b|"], [["1", "x|y"], ["2", "z"]])
        assert sheet.markdown().splitlines() == ["| a | \\|b\\| |", "| --- | --- |", "| 1 | x\\|y |", "| 2 | z |"]
        sheet.write_csv(tmp_path / "sheet.csv")
        assert (tmp_path / "sheet.csv").read_text() == "a,|b|\n1,x|y\n2,z\n"

    def test_every_network_as_a_line(self, records: list[Record], tmp_path: Path) -> None:
        tables.write_networks(tmp_path / "networks.csv", records)
        rows = read((tmp_path / "networks.csv").read_text())
        assert len(rows) == len(records)
        assert [float(row["test_error"]) for row in rows] == pytest.approx([r.test_error for r in records])
        digits = [row for row in rows if row["task"] == "digits"]
        assert digits[0]["hop_profile_7"] == "0.125"
        assert digits[0]["hop_profile_9"] == ""


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


class TestPage:
    def test_is_self_contained_and_whole(self, folder: Path, exhibits: dict[str, Exhibit], tmp_path: Path) -> None:
        page = tmp_path / "made" / "report.html"
        report.write(folder, page)
        text = page.read_text(encoding="utf-8")
        links = _Links()
        links.feed(text)
        assert links.open == []
        assert all(link.startswith(("#", "data:")) for link in links.found)
        assert {link[1:] for link in links.found if link.startswith("#")} <= set(re.findall(r'id="([^"]+)"', text))
        pictures = [link for link in links.found if link.startswith("data:image/png;base64,")]
        assert len(pictures) == len(exhibits)
        assert base64.b64decode(pictures[0].partition(",")[2]).startswith(b"\x89PNG")
        data = [
            base64.b64decode(link.partition(",")[2]).decode()
            for link in links.found
            if link.startswith("data:text/csv")
        ]
        assert data == [exhibit.csv() for exhibit in exhibits.values()]
        assert "<script" not in text
        assert "R_io reads off the function" in text
        assert "Interval(" not in text

    def test_settings_name_what_was_trained(self, records: list[Record]) -> None:
        sheet = report.settings(records)
        rows = [dict(zip(sheet.header, row, strict=True)) for row in sheet.rows]
        assert (
            rows[0] | {"penalty": "none", "strengths β": "", "seeds": "0 to 2", "tasks": "averaging, lagged"} == rows[0]
        )
        assert (
            rows[1] | {"penalty": "L1", "strengths β": "0.001, 0.01, 0.1", "tasks": "averaging, lagged, digits"}
            == rows[1]
        )

    def test_settings_say_whether_the_grid_is_whole(self, records: list[Record]) -> None:
        assert report.settings(records).text == "Every strength was trained with every seed."
        assert report.settings(records[:-1]).text == "Not every strength was trained with every seed."

    def test_refuses_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="holds no trained network"):
            report.write(tmp_path, tmp_path / "report.html")
