"""The page to turn pathways over: what is in it, its size, and in a browser what a person does with it."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from rrnn_ext import reading
from rrnn_ext.reading import Network, Walk, explorer, strongest_walks, whole_graph
from rrnn_ext.reading.commands import app
from rrnn_ext.reading.explorer import OF_NETWORK, Explorer, Graph, Words
from rrnn_ext.reading.report import Report

CHROMIUM = Path("/usr/bin/chromium")
STEPS, LISTED = 5, 12
MEGABYTES_5 = 5_000_000


@pytest.fixture(scope="module")
def report() -> Report:
    torch.manual_seed(0)
    network = Network.from_module(nn.GRU(3, 6, batch_first=True), nn.Linear(6, 4))
    return Report(network, steps=STEPS, sequences=torch.randn(4, STEPS, 3))


def walks_of(report: Report, graph: int, lag: int) -> list[tuple[str, Walk]]:
    """All walks of a lag, the strongest first, as the page writes them, by the search in Python. The first graph is the
    network as it ran, which has none."""
    network, gate = report.network, graph - 1
    whole = whole_graph(network.weight_hh[gate], network.weight_in[gate], network.weight_out[gate])
    found = strongest_walks(whole.weights, whole.inputs, whole.outputs, hops=lag + 3, count=10_000)[lag + 2]

    def written(walk: Walk) -> str:
        steps = zip(walk.units[1:], walk.edges, strict=True)
        return whole.names[walk.units[0]] + "".join(
            f" {'⊣' if edge < 0 else '→'} {whole.names[unit]}" for unit, edge in steps
        )

    return [(written(walk), walk) for walk in found]


class TestPage:
    def test_is_whole_in_one_file_below_5_MB(self, report: Report) -> None:
        page = report.explorer().page()
        links: list[str] = []

        class Links(HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                links.extend(value or "" for name, value in attrs if name in ("src", "href"))

        Links().feed(page)
        assert links == []
        assert len(page.encode()) < MEGABYTES_5

    def test_the_largest_is_below_5_MB(self) -> None:
        """Of a connectome: from sources to 100,000 cells and on to targets, with numbers like noise and long names."""
        steps, side, cells = 6, 300, 100_000
        middle = torch.arange(2 * side, 2 * side + cells)
        sources, targets = torch.randint(side, (cells,)), torch.randint(side, 2 * side, (cells,))
        places = torch.stack([torch.cat([middle, targets]), torch.cat([sources, middle])])
        size = 2 * side + cells
        weights = torch.sparse_coo_tensor(
            places, torch.randn(2 * cells).double(), (size, size), check_invariants=True
        ).coalesce()
        names = [str(720575940600000000 + number) for number in torch.randint(10**9, (size,)).tolist()]
        words = Words("source", "target", "cell", "synapses", "synapses: #", first=1, edges=1, revisit=False)
        graph = Graph("all", torch.randn(steps, side, side), weights)
        ends = torch.arange(side), torch.arange(side, 2 * side)
        page = Explorer("Large", "", [graph], names, *ends, words).page()
        assert len(page.encode()) < MEGABYTES_5
        assert "sources with the strongest walks are shown" in page
        assert "Of the 200,000 edges of “all” the 100,000 with the strongest walks are here" in page

    def test_says_how_many_lags_are_shown(self) -> None:
        network = Network.from_module(nn.RNN(1, 2), nn.Linear(2, 1))
        page = Report(network, steps=explorer.LAGS + 7).explorer().page()
        assert f"The first {explorer.LAGS} of {explorer.LAGS + 7} lags are shown." in page

    def test_names_are_escaped(self) -> None:
        graph = Graph("<b>", torch.ones(1, 1, 1), None)
        one = Explorer("A & B", "<script>", [graph, graph], ["</script>"], torch.tensor([0]), torch.tensor([0]))
        page = one.page()
        assert "A &amp; B" in page
        assert page.count("</script>") == 3  # the library, the numbers, the page's own
        assert one._repr_html_().count("<") == 2

    def test_is_written_by_the_command(self, tmp_path: Path) -> None:
        model = nn.ModuleDict({"cells": nn.RNN(3, 5), "head": nn.Linear(5, 2)})
        torch.save(model.state_dict(), tmp_path / "model.pt")
        path = tmp_path / "made" / "explorer.html"
        result = CliRunner().invoke(app, ["read", str(tmp_path / "model.pt"), "--steps", "4", "--html", str(path)])
        assert result.exit_code == 0, result.output
        assert str(path) in result.output.replace("\n", "")
        assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.fixture(scope="module")
def tab(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page, opened; what it complains of is in ``complaints``."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    path = report.explorer().write(tmp_path_factory.mktemp("explorer") / "explorer.html")
    # Chromium's sandbox does not work for root, as whom containers run.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        tab = browser.new_page(viewport={"width": 1280, "height": 1400})
        tab.complaints = []
        tab.on("console", lambda message: tab.complaints.append(message.text))
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.goto(path.as_uri())
        tab.wait_for_selector("body[data-ready]")
        yield tab
        browser.close()


@pytest.fixture
def page(tab: Any) -> Iterator[Any]:
    """The page with nothing chosen but lag 0 of the reset gate."""
    tab.select_option("#graph", "1")
    tab.fill("#step", "0")
    tab.click("#reset")
    yield tab
    assert tab.complaints == []


def listed(page: Any) -> list[tuple[str, float]]:
    rows = page.locator("#walks tr").all()
    return [
        (cells[0], float(cells[1])) for cells in ([one.inner_text() for one in row.locator("td").all()] for row in rows)
    ]


def choose(page: Any, field: str, name: str) -> None:
    page.fill(f"#{field}", name)
    page.dispatch_event(f"#{field}", "change")


class TestBrowser:
    @pytest.mark.parametrize("graph", [1, 3])
    @pytest.mark.parametrize("lag", [0, 2])
    def test_lists_the_strongest_walks(self, page: Any, report: Report, graph: int, lag: int) -> None:
        page.select_option("#graph", str(graph))
        page.fill("#step", str(lag))
        expected = walks_of(report, graph, lag)[:LISTED]
        found = listed(page)
        assert [text for text, _ in found] == [text for text, _ in expected]
        assert [weight for _, weight in found] == pytest.approx([walk.weight for _, walk in expected], rel=6e-3)

    def test_from_to_and_through(self, page: Any, report: Report) -> None:
        page.fill("#step", "2")
        kept = [text for text, _ in walks_of(report, 1, 2)]
        for field, pattern, name in (
            ("start", "^{} ", "input 1"),
            ("end", " {}$", "output 2"),
            ("through", " {} ", "unit 4"),
        ):
            choose(page, field, name)
            kept = [text for text in kept if re.search(pattern.format(name), text)]
            assert [text for text, _ in listed(page)] == kept[:LISTED]
        assert "From input 1 to output 2" in page.inner_text("#profile-title")
        drawn = page.evaluate("document.getElementById('profile').data[0].y")
        assert drawn == pytest.approx(report.walks[1, :, 2, 1].tolist(), rel=6e-4, abs=1e-12)

    def test_begins_with_the_network_as_it_ran_and_its_strongest_lag(self, page: Any, report: Report) -> None:
        page.reload()
        page.wait_for_selector("body[data-ready]")
        assert page.input_value("#graph") == "0"
        assert int(page.input_value("#step")) == reading.hop_profile(report.walks[0]).argmax().item()

    def test_a_click_on_a_bar_chooses_its_lag(self, page: Any, report: Report) -> None:
        before = page.locator("#graph-of-walks").screenshot()
        bar = page.locator("#profile .bars .point").nth(2).bounding_box()
        page.mouse.click(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] - 3)
        page.wait_for_function("document.getElementById('map-title').textContent.endsWith('lag 2')")
        assert [text for text, _ in listed(page)] == [text for text, _ in walks_of(report, 1, 2)[:LISTED]]
        assert page.locator("#graph-of-walks").screenshot() != before
        shown = page.evaluate("document.getElementById('map').data[0].z")
        values = torch.tensor(shown)
        torch.testing.assert_close(values.sign() * values**2, report.walks[1, 2].float(), rtol=2e-3, atol=1e-6)

    def test_a_click_on_the_map_chooses_a_pair(self, page: Any) -> None:
        frame = page.locator("#map .nsewdrag").bounding_box()
        # Of 4 rows and 3 columns, the second row and the third column.
        page.mouse.click(frame["x"] + frame["width"] * 5 / 6, frame["y"] + frame["height"] * 3 / 8)
        page.wait_for_function("document.getElementById('end').value === 'output 1'")
        assert page.input_value("#start") == "input 2"
        for text, _ in listed(page):
            assert text.startswith("input 2 ")
            assert text.endswith(" output 1")

    def test_a_click_on_a_unit_chooses_what_passes_it(self, page: Any) -> None:
        node = page.locator("#graph-of-walks .scatterlayer .trace").last.locator(".point").first.bounding_box()
        page.mouse.click(node["x"] + node["width"] / 2, node["y"] + node["height"] / 2)
        page.wait_for_function("document.getElementById('through').value !== ''")
        assert all(page.input_value("#through") in text for text, _ in listed(page))

    def test_names_are_looked_up(self, page: Any) -> None:
        choose(page, "end", "OUTPUT 3")
        assert all(text.endswith("output 3") for text, _ in listed(page))
        choose(page, "end", "2")
        assert all(text.endswith("output 2") for text, _ in listed(page))
        choose(page, "end", "nobody")
        assert page.inner_text("#said") == "No output that is shown is called “nobody”."

    def test_a_network_that_ran_has_no_single_walks(self, page: Any, report: Report) -> None:
        assert page.is_enabled("#through")
        page.select_option("#graph", "0")
        assert "The edges of “as it ran” change from step to step" in page.inner_text("#said")
        assert not page.is_visible("#walks")
        assert "strongest" not in page.inner_text("body")
        assert not page.is_enabled("#through")
        shares = 100 * reading.hop_profile(report.walks[0])
        assert page.evaluate("document.getElementById('profile').data[0].y") == pytest.approx(shares.tolist(), rel=1e-3)

    def test_fits_a_narrow_screen(self, page: Any) -> None:
        page.set_viewport_size({"width": 400, "height": 900})
        try:
            page.wait_for_function("document.documentElement.scrollWidth <= 400")  # charts follow with some delay
        finally:
            page.set_viewport_size({"width": 1280, "height": 1400})

    def test_fields_stand_in_a_row(self, page: Any) -> None:
        fields = page.locator("#choice select, #choice input, #choice button").all()
        try:
            for width, rows in ((1280, 1), (765, 1), (400, 2)):  # the second is the width of a notebook
                page.set_viewport_size({"width": width, "height": 1400})
                boxes = [field.bounding_box() for field in fields]
                assert len({box["y"] for box in boxes}) == rows
                assert len({box["height"] for box in boxes}) == 1
        finally:
            page.set_viewport_size({"width": 1280, "height": 1400})

    def test_rows_of_the_map_are_named(self, page: Any, tmp_path: Path) -> None:
        """All of 58, and some of many: a place by number tells nobody which cell it is."""
        for count, every in ((58, 1), (130, 3)):
            names = [f"cell {place}" for place in range(count)]
            graph = Graph("all", torch.ones(1, count, 1), None)
            words = OF_NETWORK._replace(end="cell")
            many = Explorer("Many", "", [graph], names, torch.tensor([0]), torch.arange(count), words)
            other = page.context.browser.new_page()
            other.goto(many.write(tmp_path / f"{count}.html").as_uri())
            other.wait_for_selector("body[data-ready]")
            assert other.locator("#map .ytick text").all_text_contents() == [
                str(place) for place in range(0, count, every)
            ]
            other.close()

    def test_charts_are_told_in_words(self, page: Any, report: Report) -> None:
        largest = report.walks[1, 0].abs().argmax().item()
        end, start = divmod(int(largest), 3)
        assert f"from input {start} to output {end}." in page.get_attribute("#map", "aria-label")
        assert page.get_attribute("#profile", "aria-label").endswith("lag 0.")
        assert page.get_attribute("#graph-of-walks", "aria-label").startswith("12 walks")

    def test_numbers_are_short(self, page: Any, tmp_path: Path) -> None:
        values = [14812345.0, 125e6, 0.0, -0.0123456, -1e5, 99000.0]
        graph = Graph("all", torch.tensor(values).view(1, 1, -1), None)
        ends = torch.arange(1, 1 + len(values)), torch.tensor([0])
        one = Explorer("Numbers", "", [graph], [str(number) for number in range(1 + len(values))], *ends)
        other = page.context.browser.new_page()
        other.goto(one.write(tmp_path / "numbers.html").as_uri())
        other.wait_for_selector("body[data-ready]")
        shown = other.evaluate("document.getElementById('map').data[0].text[0]")
        assert [text.split(": ")[1] for text in shown] == ["1.48e7", "1.25e8", "0", "-0.0123", "-1e5", "99000"]
        other.close()

    def test_walks_that_pass_no_cell_twice(self, page: Any) -> None:
        """In a graph of strong circles, where most walks go round."""
        torch.manual_seed(1)
        weights = torch.rand(7, 7).double() ** 3
        found = page.evaluate(
            """async ([start, end, weight]) => {
                const search = [...document.scripts].at(-1).textContent.split("// The page:")[0];
                const parts = [search, "export { compressed, strongestWalks }"];
                const url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
                const { compressed, strongestWalks } = await import(url);
                const graph = compressed({ start, end, weight }, 7);
                return strongestWalks(graph, [0, 1], [1, 5, 6], 4, 50, null, false).walks.map(({ units }) => units);
            }""",
            [*weights.nonzero().flip(1).T.tolist(), weights.flatten().tolist()],
        )
        ends = torch.tensor([0, 1]), torch.tensor([1, 5, 6])
        expected = strongest_walks(weights, *ends, hops=5, count=50, revisit=False)[4]
        assert found == [list(walk.units) for walk in expected]
        assert all(len(set(units)) == 5 for units in found)
        assert len({tuple(pair) for units in found for pair in itertools.pairwise(units)}) > 10
