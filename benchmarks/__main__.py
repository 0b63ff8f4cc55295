"""``python -m benchmarks [--quick]``: measures, prints and, unless quick, rewrites results/ and docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a representative subset; prints, writes no file")
    quick = parser.parse_args().quick
    arguments = [
        str(HERE),
        f"--rootdir={HERE.parent}",
        *("-o", "python_files=benchmark_*.py", "-o", "addopts="),
        # --capture=no lets each benchmark's line out as soon as it is measured.
        *("-p", "no:cacheprovider", "--no-header", "--quiet", "--capture=no", "-o", "console_output_style=classic"),
        *("-W", "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
        # pytest-benchmark runs the rounds; its table knows nothing of the peers, so report.py has its own.
        *("--benchmark-timer=benchmarks.device.now", "--benchmark-quiet"),
        *(["-m", "quick"] if quick else []),
    ]
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
