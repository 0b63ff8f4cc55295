"""``python -m experiments connectome`` on a made-up diagram of twenty cells whose strongest pathways are known."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner, Result

from experiments.cli import app
from rrnn_ext.reading import exhibit

pytestmark = pytest.mark.usefixtures("one_thread")

# A strong chain S → A → B ⊣ M among weak connections of every cell with the next ones.
CELLS = ["S", "T", "A", "B", "M", "N", *(f"c{number}" for number in range(14))]
STRONG = {("S", "A"): 90, ("A", "B"): 95, ("B", "M"): -85}


def diagram(folder: Path, *back: tuple[str, str, float]) -> Path:
    """All connections lead on in the order of the cells, but for those in ``back``."""
    weak = {(pre, post): 1 for at, pre in enumerate(CELLS) for post in CELLS[at + 1 : at + 8]}
    path = folder / "edges.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["pre", "post", "weight"])
        writer.writerows([*pair, weight] for pair, weight in (weak | STRONG).items())
        writer.writerows(back)
    return path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["connectome", *arguments], env={"COLUMNS": "200"})


def test_writes_the_page_its_tables_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhibit, "DPI", 40)
    out = tmp_path / "made" / "page"
    ends = ("--sources", "S,T", "--targets", "M,N", "--synapses", "4", "--walks", "2")
    result = invoke("--edges", str(diagram(tmp_path, ("c13", "c0", 1))), *ends, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "20 cells" in result.output
    assert "from 2 source cells to 2 target cells" in result.output
    assert "S → A → B ⊣ M" in result.output
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "S → A → B ⊣ M" in page
    assert 'href="explorer.html"' in page
    assert "Pathways of a connectome" in (out / "explorer.html").read_text(encoding="utf-8")
    for name in ("by_synapses", "strongest", "relays", "map", "influence"):
        assert imread(out / f"{name}.png").shape[1] > 250
    assert page.count("data:image/png;base64,") == len(list(out.glob("*.png")))
    with (out / "the_strongest_pathways.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (chain,) = [row for row in rows if row["pathway"] == "S → A → B ⊣ M"]
    assert [row["synapses"] for row in rows].count("3") == 2
    assert rows[[row["synapses"] for row in rows].index("3")] == chain
    # A has input of S and T, B of S, T and A, M of S, T, A and B.
    assert float(chain["strength"]) == pytest.approx(100 * 90 / 91 * 95 / 97 * 85 / 88, rel=1e-2)
    with (out / "cells_that_pathways_pass.csv").open(encoding="utf-8") as file:
        assert {row["cell"] for row in list(csv.DictReader(file))[:2]} == {"A", "B"}

    with (out / "strongest.csv").open(encoding="utf-8") as file:
        drawn = [row for row in csv.DictReader(file) if row["synapses"] == "3"]
    assert [(row["step"], row["pre"], row["post"], row["inhibits"]) for row in drawn[:3]] == [
        ("1", "S", "A", "False"),
        ("2", "A", "B", "False"),
        ("3", "B", "M", "True"),
    ]
    assert [float(row["strength"]) for row in drawn[:3]] == pytest.approx(3 * [float(chain["strength"])], rel=1e-2)
    with (out / "influence_scores.csv").open(encoding="utf-8") as file:
        scores = {row["cell"]: float(row["signed"]) for row in csv.DictReader(file)}
    assert scores.keys() == set(CELLS)
    assert scores["S"] == 1
    assert scores["A"] > 0 > scores["M"]


def test_says_why_there_is_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhibit, "DPI", 40)
    result = invoke("--edges", str(diagram(tmp_path)), "--sources", "S", "--targets", "M", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "There are no influence scores of these connections: " in result.output
    assert "There are no influence scores of these connections: " in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "influence.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--targets", "M"], "--sources must be given with --edges"),
        (["--sources", "M", "--targets", "S"], "no pathway of at most 6 synapses leads from a source to a target"),
        (["--sources", "S", "--targets", "nobody"], "--targets: no cell 'nobody' among the 20"),
    ],
)
def test_refuses(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = invoke("--edges", str(diagram(tmp_path)), *arguments, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_names_the_package_of_c_elegans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.wiring.celegans import celegans

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    celegans.cache_clear()
    result = invoke("--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "pip install --no-deps cect" in result.stderr
