"""``python tests/plant_bugs.py [name ...]``: plants the bugs of tests/support/planted_bugs one at a time in a copy of
the source tree, runs the library's tests there, and tells which bugs they notice. By hand, as it takes an hour or more.

The copy is build/planted/tree; what was compiled there is used again the next time. A bug of csrc/cuda is compiled as
`make races` does, and the tests marked `emulated` have to notice it. A bug counts as caught where a test fails, hangs
or crashes that passes without it; as survived where all of the library's tests have passed. Those are the tests that
import neither the experiments nor the bugs.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from support.planted_bugs import BUGS, Bug

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / "build" / "planted" / "tree"
SNAPSHOT = TREE.parent / "snapshot"  # of what was compiled without a bug
LOG = TREE.parent / "pytest.log"
NOT_THE_LIBRARYS = {"experiments", "support.planted_bugs"}
SECONDS_OF_A_RUN = 7200  # of a test: what pyproject.toml says


def imported(path: Path) -> set[str]:
    """The modules that a file imports, their packages, and what modules of tests/support import for it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found |= {name.partition(".")[0] for name in found}
    support = [TREE / "tests" / f"{name.replace('.', '/')}.py" for name in found if name.startswith("support.")]
    return found.union(*(imported(other) for other in support if other.exists()))


def library_tests() -> list[str]:
    """Those of the library, the slowest ones last."""
    tests = [path for path in (TREE / "tests").rglob("test_*.py") if not imported(path) & NOT_THE_LIBRARYS]
    last = ["test_hurting_matrices", "test_ways_to_run"]
    tests.sort(key=lambda path: (path.stem in last, path.stem))
    return [path.relative_to(TREE).as_posix() for path in tests]


def copy_tree() -> None:
    """The tracked files and those that could be, with new times where they differ from the copy's."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    wanted = {name for name in listed if (ROOT / name).is_file()}
    for path in TREE.rglob("*"):
        name = path.relative_to(TREE).as_posix()
        if path.is_file() and name not in wanted and not name.startswith("build/") and path.suffix != ".so":
            path.unlink()
    for name in wanted:
        source, copy = ROOT / name, TREE / name
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)


def compile_tree(emulated: bool) -> None:
    command = ["build", "--build-lib", "build/emulated"] if emulated else ["build_ext", "--inplace"]
    environment = {"RRNN_EMULATE": "races"} if emulated else {"RRNN_CUDA": "0"}
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", *command],
        cwd=TREE,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)


def compiled() -> list[Path]:
    """The directories and files that a build writes, in the tree."""
    return [path for path in (TREE / "build", *(TREE / "rrnn_ext").glob("*.so")) if path.exists()]


def keep_compiled() -> None:
    shutil.rmtree(SNAPSHOT, ignore_errors=True)
    SNAPSHOT.mkdir(parents=True)
    for path in compiled():
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, SNAPSHOT / path.name)


def restore_compiled() -> None:
    for path in compiled():
        if path.is_dir():
            shutil.rmtree(path)
            shutil.copytree(SNAPSHOT / path.name, path)
        else:
            shutil.copy2(SNAPSHOT / path.name, path)


@dataclass
class Runner:
    """Of the tests for one kind of bug, in the copy."""

    emulated: bool
    red: list[str] = field(default_factory=list)  # what fails without a bug

    def files(self) -> list[str]:
        tests = library_tests()
        return [name for name in tests if not self.emulated or "mark.emulated" in (TREE / name).read_text()]

    def options(self) -> list[str]:
        emulated = ["-o", "pythonpath=build/emulated", "-m", "emulated"] if self.emulated else []
        return [*emulated, *(f"--deselect={test}" for test in self.red)]

    def failing(self, tests: list[str]) -> tuple[str, str] | None:
        """The first of the tests that does not pass, and how; None where all do."""
        command = [sys.executable, "-m", "pytest", "-x", "-v", "--color=no", "-p", "no:cacheprovider"]
        command += [*self.options(), *tests]
        environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "RRNN_CUDA": "0"}
        with LOG.open("w") as log:
            process = subprocess.Popen(
                command, cwd=TREE, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                code: int | None = process.wait(SECONDS_OF_A_RUN)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        return None if code in (0, 5) else blamed(LOG.read_text(errors="replace"), code)


def blamed(log: str, code: int | None) -> tuple[str, str]:
    """The test to which a run of `pytest -x -v` came, and what became of it."""
    if verdict := re.findall(r"^(tests/\S+?\.py::.*?) (?:FAILED|ERROR)\b", log, re.MULTILINE):
        return verdict[0], "failed"
    if refused := re.findall(r"^ERROR (tests/\S+\.py)", log, re.MULTILINE):
        return refused[0], "could not be imported"
    started = re.findall(r"^(tests/\S+?\.py::\S+)", log, re.MULTILINE)
    hung = code is None or "Timeout +++" in log or "++ Timeout ++" in log
    return (started[-1] if started else "pytest itself"), "hung" if hung else "crashed"


def plant(bug: Bug, runner: Runner, only_likely: bool) -> str:
    """Where it was caught; empty where it survived."""
    path = TREE / bug.file
    stat, source = path.stat(), path.read_text()
    likely = bug.likely_tests()
    others = [] if only_likely else [name for name in runner.files() if name not in likely]
    while True:
        found = None
        try:
            path.write_text(bug.planted(source))
            if bug.is_native:
                compile_tree(bug.is_emulated)
            for tests in (likely, others):
                found = found or (runner.failing(tests) if tests else None)
        finally:
            path.write_text(source)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            if bug.is_native:
                restore_compiled()
        if found is None:
            return ""
        test, how = found
        if not test.startswith("tests/"):
            sys.exit(LOG.read_text(errors="replace"))
        if runner.failing([test]) is None:
            return f"{test} {how}"
        print(f"  {test} fails without the bug: not counted", flush=True)
        runner.red.append(test)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help="the bugs to plant; all by default")
    parser.add_argument("--likely", action="store_true", help="run those tests alone that each bug names")
    given = parser.parse_args()
    names = given.names
    if unknown := set(names) - {bug.name for bug in BUGS}:
        parser.error(f"there is no bug {', '.join(sorted(unknown))}; known: {', '.join(bug.name for bug in BUGS)}")
    bugs = [bug for bug in BUGS if not names or bug.name in names]
    copy_tree()
    runners = {kind: Runner(kind) for kind in sorted({bug.is_emulated for bug in bugs})}
    for kind in {False} | set(runners):
        compile_tree(kind)
    keep_compiled()
    caught = possible = 0
    for bug in bugs:
        begun = time.monotonic()
        where = plant(bug, runners[bug.is_emulated], given.likely)
        caught += bool(where)
        possible += bool(where) or not bug.why_not
        fate = where or (f"cannot be noticed: {bug.why_not}" if bug.why_not else f"SURVIVED: {bug.breaks}")
        print(f"{bug.name:<34} {time.monotonic() - begun:6.0f} s  {fate}", flush=True)
    print(f"{caught} of {possible} caught" + (f", {len(bugs) - possible} cannot be" if possible < len(bugs) else ""))
    return int(caught < possible)


if __name__ == "__main__":
    sys.exit(main())
