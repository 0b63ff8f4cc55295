"""benchmarks/gpu/run.sh: what hangs or crashes costs nothing but itself. A script stands in for Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.gpu.record import Folder
from benchmarks.gpu.report import document

RUN = Path(__file__).resolve().parents[3] / "benchmarks" / "gpu" / "run.sh"

# `-m benchmarks.gpu` lists the entries; with --only NAME --out FOLDER it measures one. Of those that hang, one has a
# child, and neither heeds a polite signal.
PYTHON = """#!/usr/bin/env bash
[ "$1 $2" = "-m benchmarks.gpu" ] || { echo "asked: $*"; exit 0; }
[ $# -gt 2 ] || { echo first; echo hangs; echo crashes; echo fails; echo last; exit 0; }
name=$4 out=$6
measured() {
  echo '{"entry": "'$name'", "kind": "memory", "shape": {"n": 2}, "peak_bytes": 32}' >>"$out/measured.jsonl"
}
case $name in
  hangs) measured; trap '' TERM; (trap '' TERM; sleep 300) & echo $! >"$out/child"; wait; sleep 300 ;;
  crashes) printf '{"entry": "cut o' >>"$out/measured.jsonl"; echo >>"$out/measured.jsonl"; kill -SEGV $$ ;;
  fails) echo '{"entry": "fails", "kind": "failure", "contender": "a peer", "error": "it disagrees"}' \\
    >>"$out/measured.jsonl"; exit 1 ;;
  *) measured ;;
esac
"""

# Of CUDA's toolkit.
NCU = """#!/usr/bin/env bash
if [ "$1" = --import ]; then echo "details of $2"; exit; fi
until [ "$1" = -o ]; do shift; done
touch "$2.ncu-rep"
shift 2
echo "profiled: $*"
"""
SANITIZER = """#!/usr/bin/env bash
echo "$2 without a cache: $PYTORCH_NO_CUDA_MEMORY_CACHING"
exec "${@:5}"
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def python(tmp_path: Path) -> Path:
    return script(tmp_path / "python", PYTHON)


def run(out: Path, python: Path, *steps: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": str(python), "EMULATED": "0", **settings}
    return subprocess.run([str(RUN), str(out), *steps], env=environment, capture_output=True, text=True, timeout=120)


def is_running(process: int) -> bool:
    """A zombie, whom nobody has asked for its end, is not."""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_who_hangs_or_crashes_costs_nothing_else(tmp_path: Path, python: Path) -> None:
    done = run(tmp_path, python, "bench", ENTRY_LIMIT="1")
    assert done.returncode == 1
    folder = Folder.read(tmp_path)
    assert set(folder.memory) == {"first", "hangs", "last"}
    codes = {name: step.code for name, step in folder.steps.items()}
    assert codes == {"bench": 0, "first": 0, "hangs": 137, "crashes": 139, "fails": 1, "last": 0}
    said = document(folder)
    assert "`hangs` ran past its limit of 2 s" in said
    assert "`crashes` was ended by signal 11" in said
    assert "a peer of `fails`: it disagrees" in said
    assert not is_running(int((tmp_path / "child").read_text()))


def test_what_there_is_no_time_for_is_said(tmp_path: Path, python: Path) -> None:
    run(tmp_path, python, "bench", LIMIT="0")
    folder = Folder.read(tmp_path)
    assert not folder.memory
    assert {step.ending for name, step in folder.steps.items() if name != "bench"} == {"had no time left"}
    assert "`last` had no time left" in document(folder)


def test_what_was_never_begun_is_said(tmp_path: Path) -> None:
    """Of a run that was itself ended from outside."""
    (tmp_path / "steps.jsonl").write_text(json.dumps({"planned": ["thin", "memory"]}) + "\n")
    assert "`memory` did not end, or was not begun" in document(Folder.read(tmp_path))


def test_what_the_toolkit_is_asked(tmp_path: Path, python: Path) -> None:
    script(tmp_path / "bin" / "ncu", NCU)
    script(tmp_path / "bin" / "compute-sanitizer", SANITIZER)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = run(tmp_path, python, "profile", "tests", "racecheck", PATH=path)
    assert done.returncode == 0
    assert {name: step.code for name, step in Folder.read(tmp_path).steps.items()} == dict.fromkeys(
        ("profile", "memcheck", "tests", "racecheck"), 0
    )
    logs = {name: (tmp_path / f"{name}.txt").read_text() for name in ("log", "ncu", "memcheck", "racecheck")}
    assert f"profiled: {python} -m benchmarks.gpu --profile" in logs["log"]
    assert logs["ncu"] == f"details of {tmp_path / 'ncu.ncu-rep'}\n"
    for tool in ("memcheck", "racecheck"):
        assert f"{tool} without a cache: 1\nasked: -m pytest" in logs[tool]
    for name in ("log", "memcheck", "racecheck"):
        (asked,) = (line for line in logs[name].splitlines() if line.startswith("asked: -m pytest"))
        assert "--device cuda" in asked


@pytest.mark.skipif(any(map(shutil.which, ("ncu", "compute-sanitizer"))), reason="needs a machine without them")
def test_a_machine_without_the_toolkit(tmp_path: Path, python: Path) -> None:
    done = run(tmp_path, python, "profile", "racecheck")
    assert done.returncode == 0
    assert "`profile` has no program to run it" in document(Folder.read(tmp_path))


def test_a_step_that_does_not_exist(tmp_path: Path, python: Path) -> None:
    done = run(tmp_path, python, "bensh")
    assert done.returncode == 2
    assert "there is no step bensh" in done.stderr


def test_usage() -> None:
    done = subprocess.run([str(RUN)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout.startswith("benchmarks/gpu/run.sh OUT [STEP...]")
    assert "LIMIT" in done.stdout
