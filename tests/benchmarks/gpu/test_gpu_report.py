"""What a folder of measurements becomes: tables whose figures are known, from whole folders and half-finished ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import report
from benchmarks.gpu.record import MEASURED, Folder, Race, Recorder, Times, Work
from benchmarks.names import DIRECT, OURS, STEP, THIN, THIN_BATCH, TRAINING_STEP

ROOT = Path(__file__).resolve().parents[3]
ABOUT = {
    "emulated": False,
    "device": "NVIDIA H200",
    "driver": "580.1",
    "torch": "2.11.0",
    "cuda": "13.0",
    "python": "3.12.3",
    "date": "2026-12-01",
    "missing": "",
}


def fill(folder: Path) -> None:
    thin = Race(THIN, {"n": 1024, "i": 16, "o": 8, "hops": 20}, Work(1e9, 8e6))
    recorder = Recorder("thin-1024", folder)
    recorder.line("about", about=ABOUT)
    recorder.times(thin, OURS, Times(90e-6, 95e-6, 150e-6))
    recorder.times(thin, DIRECT, Times(80e-6, 85e-6, 100e-6))
    recorder.times(thin, "horner_from_inputs", Times(None, 300e-6, 700e-6))
    # Another process measures another contender of the same race.
    other = Recorder("thin-1024-compiled", folder)
    other.times(Race(thin.case, thin.shape, thin.work), "compiled horner_from_outputs", Times(160e-6, 1e-3, 1e-3))
    Recorder("rates", folder).line("rates", copy=4e12, matmul=5e13)
    step = Race(TRAINING_STEP, {"n": 128})
    for name, seconds in ((STEP, 1e-3), (DIRECT, 1.04e-3), (OURS, 1.2e-3)):
        Recorder("step-128", folder).times(step, name, Times(seconds, seconds, seconds))
    Recorder("memory", folder).line("memory", shape={"n": 1000}, peak_bytes=8_240_000)
    for left_out, seconds in (("nothing", 5e-6), ("the gather", 3e-6), ("the products", 4e-6)):
        Recorder("hop-parts", folder).line("hop part", shape={"n": 512}, left_out=left_out, seconds=seconds)


def cells(text: str, start: str) -> list[list[str]]:
    """Of the lines of tables that begin so."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_figures(tmp_path: Path) -> None:
    fill(tmp_path)
    text = report.document(Folder.read(tmp_path))
    of_thin = cells(text, "thin signed total, n=1024")
    assert [row[1:] for row in of_thin] == [
        ["≤ 100 µs", "80 µs", "yes"],
        ["≥ 2.5× Horner in a CUDA graph", "3.75×", "yes"],
        ["≥ 5× an eager call of Horner's", "7.00×", "yes"],
        # The floor is 1e9 / 5e13 s.
        ["80 µs", "90 µs", "compiled horner_from_outputs", "160 µs", "2.0×", "100 µs", "25%"],
    ]
    assert [row[2:] for row in cells(text, "training step, n=128")] == [["20.0%", "no"], ["4.0%", "yes"]]
    assert cells(text, "peak memory")[0][2:] == ["1.030", "no"]
    assert cells(text, "n=512")[0][1:] == ["5 µs", "2 µs", "1 µs", ""]
    assert "NVIDIA H200, driver 580.1, PyTorch 2.11.0" in text


def test_a_line_that_was_cut_off(tmp_path: Path) -> None:
    fill(tmp_path)
    with (tmp_path / MEASURED).open("a") as file:
        file.write('{"entry": "thin-512", "ki')
    assert report.document(Folder.read(tmp_path)).count("| 80 µs") == 2


def test_what_failed_and_was_measured_again(tmp_path: Path) -> None:
    fill(tmp_path)
    recorder = Recorder("thin-1024", tmp_path)
    recorder.failed("horner_from_inputs", RuntimeError("out of memory"))
    assert "horner_from_inputs of `thin-1024`: RuntimeError: out of memory" in report.document(Folder.read(tmp_path))
    again = Race(THIN, {"n": 1024, "i": 16, "o": 8, "hops": 20})
    recorder.times(again, "horner_from_inputs", Times(200e-6, 300e-6, 700e-6))
    text = report.document(Folder.read(tmp_path))
    assert "out of memory" not in text
    assert "| 2.50×" in text


def test_without_ours_there_is_no_row(tmp_path: Path) -> None:
    race = Race(THIN_BATCH, {"batch": 64, "n": 256})
    Recorder("thin-64x256", tmp_path).times(race, "horner_batched", Times(1.0, 1.0, 1.0))
    text = report.document(Folder.read(tmp_path))
    assert cells(text, THIN_BATCH) == []
    assert "- the device's rates" in text


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{report.BEGIN}\nold\n{report.END}\nAfter.\n")
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "PAGE", page)
    fill(tmp_path)
    report.write(Folder.read(tmp_path), tmp_path)
    text = (tmp_path / "nvidia-h200.md").read_text()
    assert page.read_text() == f"Before.\n{report.BEGIN}\n{text}{report.END}\nAfter.\n"
    found = json.loads((tmp_path / "nvidia-h200.json").read_text())
    assert found["races"][0]["floor_s"] == 2e-5
    assert found["about"] == ABOUT


def test_a_dry_run_leaves_results_and_page_alone(tmp_path: Path) -> None:
    Recorder("about", tmp_path).line("about", about={**ABOUT, "emulated": True})
    written = report.write(Folder.read(tmp_path), tmp_path)
    assert written == [tmp_path / "report.json", tmp_path / "report.md"]
    assert "A dry run, whose times mean nothing" in written[1].read_text()


def test_without_pytorch(tmp_path: Path) -> None:
    fill(tmp_path)
    program = "import sys; sys.modules['torch'] = None; from benchmarks.gpu import report; print(report.document("
    program += f"report.Folder.read(report.Path({str(tmp_path)!r}))))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "NVIDIA H200" in done.stdout
