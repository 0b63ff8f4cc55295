"""clang compiles the library as g++ does: every source, with every flag of the build, without a warning."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLANG = next((found for name in ("clang++", "clang++-19", "clang++-18") if (found := shutil.which(name))), None)


@pytest.mark.skipif(CLANG is None, reason="clang is not installed")
def test_clang_has_nothing_to_say() -> None:
    built = subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=ROOT, text=True)
    assert built.returncode == 0
    suffix = sysconfig.get_config_var("EXT_SUFFIX").removesuffix(".so")
    ninja = Path(sysconfig.get_path("scripts"), "ninja")
    listed = subprocess.run(
        [ninja, "-C", ROOT / "build" / f"native{suffix}", "-t", "compdb"], capture_output=True, text=True, check=True
    )
    steps = [step for step in json.loads(listed.stdout) if step["file"].endswith(".cpp")]
    assert len(steps) > 30

    def said(step: dict[str, str]) -> str:
        words = shlex.split(step["command"])
        command = [str(CLANG), *words[1 : words.index("-MD")], "-Werror", "-fsyntax-only", step["file"]]
        return subprocess.run(command, cwd=step["directory"], capture_output=True, text=True).stderr

    with ThreadPoolExecutor(2) as pool:
        assert "".join(pool.map(said, steps)) == ""
