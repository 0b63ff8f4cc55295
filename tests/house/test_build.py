"""The build itself: what the library says about itself, what is said when something is missing, what a wheel holds."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import rrnn_ext
from rrnn_ext import _C

ROOT = Path(__file__).resolve().parents[2]
X86_64 = platform.machine() == "x86_64"


def run(
    *arguments: str, cwd: Path = ROOT, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs this Python with further environment variables."""
    env = {**os.environ, **(environment or {})}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True)


def run_beside_torch(program: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program that sees `path` and the directory of torch, but no editable install (-S reads no .pth file)."""
    site = Path(torch.__file__).parent.parent
    return run("-S", "-c", program, cwd=path, environment={"PYTHONPATH": os.pathsep.join([str(path), str(site)])})


def cpu_flags() -> set[str]:
    """What the kernel reports of the first processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next(line for line in lines if line.startswith("flags")).split(":")[1].split())


class TestBuildInfo:
    def test_compiler(self) -> None:
        name, version = _C.build_info()["compiler"].split(" ", 1)
        assert name in ("gcc", "clang")
        assert version[0].isdigit()
        assert _C.build_info()["cxx_standard"] >= 202002

    def test_runs_on_every_pytorch_from_2_10_on(self) -> None:
        assert _C.build_info()["torch_target_version"] == "2.10"

    def test_every_instruction_set_is_compiled(self) -> None:
        assert _C.build_info()["simd_compiled"] == (["baseline", "avx2", "avx512"] if X86_64 else ["baseline"])

    @pytest.mark.skipif(not X86_64, reason="one instruction set alone elsewhere")
    def test_the_widest_supported_instruction_set_is_selected(self) -> None:
        avx2 = {"avx2", "fma", "f16c"} <= cpu_flags()
        avx512 = avx2 and {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= cpu_flags()
        assert _C.build_info()["simd_selected"] == ("avx512" if avx512 else "avx2" if avx2 else "baseline")

    @pytest.mark.skipif(torch.version.cuda is not None, reason="speaks of a CPU-only PyTorch")
    def test_loads_beside_a_cpu_only_pytorch_whatever_was_compiled(self) -> None:
        assert all(arch[0].isdigit() for arch in _C.build_info()["cuda_archs"])

    @pytest.mark.native
    def test_the_library_under_test_is_the_one_asked_for(self) -> None:
        assert _C.build_info()["sanitized"] == (os.environ.get("RRNN_SANITIZE") == "1")


# Runs setup.py as if the module or program named first were not on this machine.
WITHOUT = """
import importlib.util, runpy, shutil, sys
missing, which, find_spec = sys.argv.pop(1), shutil.which, importlib.util.find_spec
shutil.which = lambda name, *args, **options: None if name == missing else which(name, *args, **options)
importlib.util.find_spec = lambda name, *args: None if name == missing else find_spec(name, *args)
runpy.run_path("setup.py", run_name="__main__")
"""


class TestWhatIsMissing:
    @pytest.mark.parametrize(
        ("missing", "environment", "sentence"),
        [
            (
                "torch",
                {},
                "rrnn_ext is compiled against the PyTorch that is installed, and none is; "
                "run: pip install 'torch>=2.10' && pip install --no-build-isolation .",
            ),
            (
                "no-such-compiler",
                {"CXX": "no-such-compiler"},
                "rrnn_ext needs a C++20 compiler and 'no-such-compiler' is not on PATH; "
                "run: apt-get install g++ (or set CXX)",
            ),
            ("ninja", {}, "rrnn_ext is built by ninja, and it is not installed; run: pip install ninja"),
            (
                "nvcc",
                {"RRNN_CUDA": "1"},
                "RRNN_CUDA=1 needs nvcc, and it is neither on PATH nor in CUDA_HOME; set CUDA_HOME or RRNN_CUDA=0",
            ),
            ("nothing", {"RRNN_CUDA": "yes"}, "RRNN_CUDA must be 0, 1 or auto, got 'yes'"),
        ],
    )
    def test_one_sentence_says_so(
        self, tmp_path: Path, missing: str, environment: dict[str, str], sentence: str
    ) -> None:
        build = run("-c", WITHOUT, missing, "build_ext", "--build-lib", str(tmp_path), environment=environment)
        assert build.returncode == 1
        assert build.stderr.splitlines() == [sentence]

    def test_import_without_the_extension_says_how_to_build_it(self, tmp_path: Path) -> None:
        shutil.copytree(ROOT / "rrnn_ext", tmp_path / "rrnn_ext", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        attempt = run_beside_torch("import rrnn_ext", tmp_path)
        assert attempt.returncode == 1
        last_line = attempt.stderr.splitlines()[-1]
        assert last_line.startswith("ImportError: ")
        assert "pip install --no-build-isolation ." in last_line


# Runs setup.py beside a PyTorch of which only version.py is there, with the nvcc named (or none), up to ninja's turn.
BESIDE = """
import importlib.util, runpy, shutil, sys
torch, nvcc, which, find_spec = sys.argv.pop(1), sys.argv.pop(1), shutil.which, importlib.util.find_spec
found = {"ninja": which("false"), "nvcc": nvcc or None}
shutil.which = lambda name, *args, **options: found[name] if name in found else which(name, *args, **options)
spec = importlib.util.spec_from_file_location("torch", torch)
importlib.util.find_spec = lambda name, *args: spec if name == "torch" else find_spec(name, *args)
runpy.run_path("setup.py", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("wish", "cuda", "nvcc", "said"),
    [
        ("auto", "12.8", "/cuda/bin/nvcc", "CUDA 9.0"),
        ("auto", None, "/cuda/bin/nvcc", "CUDA off"),  # what would load, but nothing of it could be called
        ("auto", "12.8", "", "CUDA off"),
        ("1", None, "/cuda/bin/nvcc", "CUDA 9.0"),
        ("0", "12.8", "/cuda/bin/nvcc", "CUDA off"),
    ],
)
def test_cuda_is_built_where_pytorch_has_it(tmp_path: Path, wish: str, cuda: str | None, nvcc: str, said: str) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "version.py").write_text(f"cuda = {cuda!r}\n")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("csrc", "rrnn_ext"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {"RRNN_CUDA": wish, "RRNN_CUDA_ARCHS": "9.0", "RRNN_EMULATE": ""}
    arguments = [str(tmp_path / "torch" / "__init__.py"), nvcc, "--quiet", "build_ext"]
    build = run("-c", BESIDE, *arguments, cwd=tmp_path, environment=environment)
    assert build.returncode == 1
    assert build.stderr.splitlines()[-1].startswith("rrnn_ext: the native library did not compile")
    assert build.stdout.strip().endswith(said)


@pytest.mark.parametrize(
    ("name", "value", "asking"),
    [
        ("RRNN_CUDA", "yes", "find_nvcc(pathlib.Path())"),
        ("RRNN_CUDA_ARCHS", "7.5", "find_cuda_archs()"),
        ("RRNN_CUDA_ARCHS", "native", "find_cuda_archs()"),
        ("RRNN_EMULATE", "race", "find_toolchain()"),
    ],
)
def test_settings_that_it_does_not_know_are_refused(name: str, value: str, asking: str) -> None:
    refused = run("-c", f"import pathlib, setup; setup.{asking}", environment={name: value})
    assert refused.returncode == 1
    assert name in refused.stderr
    assert refused.stderr.endswith(f"'{value}'\n")


class TestWhatIsBuilt:
    def test_a_second_build_has_nothing_to_do(self, tmp_path: Path) -> None:
        command = ["setup.py", "build_ext", "--build-lib", str(tmp_path)]
        assert run(*command).returncode == 0
        second = run(*command)
        assert second.returncode == 0
        assert "ninja: no work to do." in second.stdout

    def test_the_wheel_holds_the_package_alone_and_runs_without_the_sources(self, tmp_path: Path) -> None:
        wheels, site = tmp_path / "wheels", tmp_path / "site"
        options = ["--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(wheels)]
        built = run("-m", "pip", "wheel", *options, str(ROOT))
        assert built.returncode == 0, built.stderr
        (wheel,) = wheels.glob("rrnn_ext-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            archive.extractall(site)
            (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
            said = archive.read(metadata).decode().split("\n\n")[0].splitlines()
            requirements = [line.removeprefix("Requires-Dist: ") for line in said if line.startswith("Requires-Dist: ")]
        assert {name.split("/")[0].split("-")[0] for name in names} == {"rrnn_ext"}
        assert {"rrnn_ext/py.typed", "rrnn_ext/_C.pyi"} <= set(names)
        assert [requirement for requirement in requirements if "extra ==" not in requirement] == ["torch>=2.10"]
        # For code that is in the wheel, and for the experiments of the source tree on many machines.
        extras = {line.removeprefix("Provides-Extra: ") for line in said if line.startswith("Provides-Extra: ")}
        assert extras == {"cluster", "reading"}
        assert f"Version: {rrnn_ext.__version__}" in said

        program = (
            "import rrnn_ext, torch; print(rrnn_ext.__file__, rrnn_ext.resolvent_penalty(torch.ones(2, 2), hops=2))"
        )
        ran = run_beside_torch(program, site)
        assert ran.returncode == 0, ran.stderr
        # A + A A with A all ones, 2 x 2: four entries of 1 + 2.
        assert ran.stdout.split() == [str(site / "rrnn_ext" / "__init__.py"), "tensor(12.)"]

        model = nn.ModuleDict({"rnn": nn.GRU(2, 3), "head": nn.Linear(3, 2)})
        torch.save(model.state_dict(), tmp_path / "model.pt")
        command = ["rrnn_ext", "read", str(tmp_path / "model.pt"), "--steps", "3", "--out", str(tmp_path / "report")]
        program = f"import runpy, sys; sys.argv = {command}; runpy.run_module('rrnn_ext', run_name='__main__')"
        ran = run_beside_torch(program, site)
        assert ran.returncode == 0, ran.stderr
        assert "reset gate" in ran.stdout
        assert "reset gate" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
