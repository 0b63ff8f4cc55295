"""Builds rrnn_ext/_C: every .cpp of csrc outside csrc/cuda, and what is in csrc/cuda where CUDA is wanted.

Metadata lives in pyproject.toml; this file only knows how the native library is compiled. It writes a build.ninja and
lets ninja do what is out of date.

    CXX                 the C++ compiler (default: g++)
    MAX_JOBS            how many compilers run at once (default: ninja's choice)
    RRNN_CUDA           0, 1 or auto (default): auto means where the PyTorch that is there has CUDA, and nvcc is found
    RRNN_CUDA_ARCHS     compute capabilities such as "8.0;9.0+PTX" (default: the visible GPUs', else a portable list)
    RRNN_SANITIZE       1 builds with AddressSanitizer and UndefinedBehaviorSanitizer
    RRNN_EMULATE        1 builds for tests: the CUDA kernels, executed on the CPU, are the ops of CPU tensors; races has
                        their accesses to memory watched as well, and makes them half as fast
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import platform
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
MODULE = "rrnn_ext._C"
EMULATION = ROOT / "emulation"

# One build runs on every PyTorch from 2.10 on.
TORCH_TARGET_VERSION = "0x020a000000000000"
COMMON_FLAGS = ["-std=c++20", "-O3", f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}"]
# Nobody looks at the processor's flags of floating-point exceptions: then loops with a choice in them become vectors.
HOST_FLAGS = ["-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-ffp-contract=fast", "-fno-trapping-math"]
# Above -O1 the instrumented kernels take minutes to compile.
SANITIZE_FLAGS = [
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
    *("-fno-omit-frame-pointer", "-O1", "-g1"),
]
# A GPU refuses a vector that is not aligned; a CPU does not care.
ALIGNMENT_FLAGS = ["-fsanitize=alignment", "-fno-sanitize-recover=alignment"]
# Every access to memory becomes a call of emulation/races.cpp.
RACE_FLAGS = ["-fsanitize=thread"]
PORTABLE_CUDA_ARCHS = "8.0;9.0+PTX"
OLDEST_CUDA_ARCH = 8.0

# csrc/cpu/kernels/NAME_<isa>.cpp is compiled for that instruction set, on x86-64 only, where every file sees RRNN_<ISA>
# defined; csrc/cpu/kernels/kernels.cpp picks one at run time. All other sources are compiled for the baseline. Files of
# an instruction set must share no inline function with baseline files: the linker keeps one copy, for whatever machine.
ISA_FLAGS = {
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": [
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c"),
        "-mprefer-vector-width=512",
    ],
}


@dataclass(frozen=True)
class Toolchain:
    """What the build found, or was told, on this machine."""

    torch: Path
    cxx: str
    ninja: str
    nvcc: str | None
    cuda_archs: tuple[str, ...]
    isas: tuple[str, ...]
    sanitize: bool
    emulate: bool
    races: bool  # of what is emulated


def find_torch() -> Path:
    # Not imported: that would take seconds, and the headers and libraries are all that is needed.
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        sys.exit(
            "rrnn_ext is compiled against the PyTorch that is installed, and none is; "
            "run: pip install 'torch>=2.10' && pip install --no-build-isolation ."
        )
    return Path(spec.origin).parent


def find_compiler() -> str:
    name = os.environ.get("CXX", "g++")
    found = shutil.which(name)
    if found is None:
        sys.exit(f"rrnn_ext needs a C++20 compiler and '{name}' is not on PATH; run: apt-get install g++ (or set CXX)")
    return found


def find_ninja() -> str:
    # The wheel of ninja puts its program beside python, which is not on PATH unless the environment is activated.
    found = shutil.which("ninja", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if found is None:
        sys.exit("rrnn_ext is built by ninja, and it is not installed; run: pip install ninja")
    return found


def check_python_headers() -> None:
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        sys.exit("rrnn_ext needs Python's C headers, and they are not installed; run: apt-get install python3-dev")


def has_cuda(torch: Path) -> bool:
    """Whether this PyTorch was built with CUDA, by the file that says so."""
    return runpy.run_path(str(torch / "version.py")).get("cuda") is not None


def find_nvcc(torch: Path) -> str | None:
    wish = os.environ.get("RRNN_CUDA", "auto")
    if wish not in ("0", "1", "auto"):
        sys.exit(f"RRNN_CUDA must be 0, 1 or auto, got '{wish}'")
    if wish == "0" or (wish == "auto" and not (sources("cuda/**/*.cu") and has_cuda(torch))):
        return None
    homes = [os.path.join(home, "bin") for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda") if home]
    found = shutil.which("nvcc", path=os.pathsep.join([homes[0], os.environ.get("PATH", ""), homes[-1]]))
    if found is None and wish == "1":
        sys.exit("RRNN_CUDA=1 needs nvcc, and it is neither on PATH nor in CUDA_HOME; set CUDA_HOME or RRNN_CUDA=0")
    return found


def find_cuda_archs() -> tuple[str, ...]:
    wish = os.environ.get("RRNN_CUDA_ARCHS")
    if wish is None:
        query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
        try:
            said = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            said = ""
        visible = re.findall(r"^\d+\.\d+$", said, re.MULTILINE)  # nothing, where it knows of no GPU
        wish = ";".join(sorted({arch for arch in visible if _is_new_enough(arch)})) or PORTABLE_CUDA_ARCHS
    archs = tuple(wish.replace(" ", ";").split(";"))
    if not all(map(_is_new_enough, archs)):
        sys.exit(
            f"RRNN_CUDA_ARCHS must be compute capabilities such as 8.0;9.0+PTX, of {OLDEST_CUDA_ARCH} or above, "
            f"got '{wish}'"
        )
    return archs


def _is_new_enough(arch: str) -> bool:
    number = re.fullmatch(r"(\d+\.\d+)[a-z]?(\+PTX)?", arch)
    return number is not None and float(number[1]) >= OLDEST_CUDA_ARCH


def nvcc_arch_flags(archs: tuple[str, ...]) -> list[str]:
    flags = []
    for arch in archs:
        number = arch.removesuffix("+PTX").replace(".", "")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if arch.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def find_toolchain() -> Toolchain:
    torch, cxx, ninja = find_torch(), find_compiler(), find_ninja()
    check_python_headers()
    emulation = os.environ.get("RRNN_EMULATE") or "0"
    if emulation not in ("0", "1", "races"):
        sys.exit(f"RRNN_EMULATE must be 0, 1 or races, got '{emulation}'")
    emulate = emulation != "0"
    nvcc = None if emulate else find_nvcc(torch)
    return Toolchain(
        torch=torch,
        cxx=cxx,
        ninja=ninja,
        nvcc=nvcc,
        cuda_archs=find_cuda_archs() if nvcc else (),
        isas=tuple(ISA_FLAGS) if platform.machine().lower() in ("x86_64", "amd64") and not emulate else (),
        sanitize=os.environ.get("RRNN_SANITIZE") == "1",
        emulate=emulate,
        races=emulation == "races",
    )


def sources(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in (ROOT / "csrc").glob(pattern))


def native_sources(cuda: bool, emulate: bool) -> list[Path]:
    """Every source of csrc. Emulated, csrc/cuda/ops/STEM.cpp is there in place of csrc/cpu/ops/STEM.cpp."""
    csrc = ROOT / "csrc"
    on_cuda = set(sources("cuda/**/*.cpp", "cuda/**/*.cu"))
    found = [path for path in sources("**/*.cpp", "**/*.cu") if cuda or emulate or path not in on_cuda]
    replaced = {csrc / "cpu" / path.relative_to(csrc / "cuda") for path in sources("cuda/ops/*.cpp")}
    if emulate:
        found += sorted(EMULATION.glob("*.cpp"))
    return [path for path in found if not (emulate and path in replaced)]


def isa_of(source: Path) -> str | None:
    suffix = source.stem.rpartition("_")[2]
    return suffix if suffix in ISA_FLAGS else None


def ninja_file(tools: Toolchain, library: Path) -> str:
    """The build.ninja that compiles every source into an object beside it and links them into `library`."""
    torch_include = tools.torch / "include"
    # PyTorch ships the pybind11 that it is itself built with.
    includes = [f"-I{ROOT / 'csrc'}", "-isystem", str(torch_include), "-isystem", sysconfig.get_path("include")]
    defines = [f"-DRRNN_{isa.upper()}" for isa in tools.isas]
    defines.append(f'-DRRNN_CUDA_ARCHS="{" ".join(tools.cuda_archs)}"')
    if tools.nvcc:
        includes += ["-isystem", str(Path(tools.nvcc).resolve().parent.parent / "include")]
    if tools.emulate:
        includes.append(f"-I{EMULATION}")
        defines += ["-DRRNN_EMULATE", "-DRRNN_CUDA_KEY=CPU", *(["-DRRNN_WATCH_ACCESSES"] if tools.races else [])]
    sanitize = SANITIZE_FLAGS if tools.sanitize else []
    compile_flags = [*COMMON_FLAGS, *HOST_FLAGS, *defines, *includes, *sanitize]
    nvcc_flags = [*COMMON_FLAGS, *nvcc_arch_flags(tools.cuda_archs), "-lineinfo", *defines, *includes]
    nvcc_flags += [f"-Xcompiler={flag}" for flag in HOST_FLAGS]
    # libtorch.so pulls in libtorch_cuda.so where there is one, so that weak CUDA symbols are found. No rpath: torch is
    # imported before _C, so its libraries are loaded already.
    libraries = ["-Wl,--no-as-needed", f"-L{tools.torch / 'lib'}", "-ltorch", "-ltorch_cpu"]
    link = [
        tools.cxx,
        "-shared",
        *sanitize,
        *(ALIGNMENT_FLAGS if tools.emulate else []),
        "-o",
        "$out",
        "$in",
        *libraries,
    ]
    if tools.nvcc:
        linker_flags = [flag.replace("-Wl,", "-Xlinker=") for flag in libraries]
        link = [tools.nvcc, "-ccbin", tools.cxx, "-shared", "--cudart=static", "-o", "$out", "$in", *linker_flags]

    lines = ["ninja_required_version = 1.5"]

    def rule(name: str, command: list[str], depfile: bool, report: str = "") -> None:
        words = [word if word.startswith("$") else shlex.quote(word).replace("$", "$$") for word in command]
        lines.extend(["", f"rule {name}", f"  command = {' '.join(words)}{report}", f"  description = {name} $out"])
        if depfile:
            lines.extend(["  depfile = $out.d", "  deps = gcc"])

    def path(name: Path | str) -> str:
        return str(name).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")

    end = ["-MD", "-MF", "$out.d", "-c", "$in", "-o", "$out"]
    rule("cxx", [tools.cxx, *compile_flags, *end], depfile=True)
    for isa in tools.isas:
        rule(f"cxx_{isa}", [tools.cxx, *compile_flags, *ISA_FLAGS[isa], *end], depfile=True)
    if tools.nvcc:
        # What ptxas says of registers and spills goes to a file, which tests read; errors and warnings are shown too.
        keep = " >$out.ptxas 2>&1 || { cat $out.ptxas; exit 1; }; grep -i -A 5 warning $out.ptxas || true"
        rule("cuda", [tools.nvcc, "-ccbin", tools.cxx, *nvcc_flags, "-Xptxas=-v", *end], depfile=True, report=keep)
    if tools.emulate:
        # Fibers of one thread follow one another on its stack, which the optimiser must not see through.
        emulate = [*ALIGNMENT_FLAGS, *(RACE_FLAGS if tools.races else []), "-O1", "-Wno-unknown-pragmas", "-x", "c++"]
        rule("cuda", [tools.cxx, *compile_flags, *emulate, *end], depfile=True)
    rule("link", link, depfile=False)

    objects = []
    for source in native_sources(cuda=tools.nvcc is not None, emulate=tools.emulate):
        wants = isa_of(source)
        if wants is not None and wants not in tools.isas:
            continue
        step = "cuda" if source.suffix == ".cu" else "cxx" if wants is None else f"cxx_{wants}"
        objects.append(f"{os.path.relpath(source, ROOT / 'csrc').removeprefix('../')}.o")
        lines.append(f"build {path(objects[-1])}: {step} {path(source)}")
    lines.append(f"build {path(library)}: link {' '.join(map(path, objects))}")
    return "\n".join([*lines, ""])


def build_library() -> Path:
    """The library, made by ninja; objects stay in build/native*."""
    tools = find_toolchain()
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    emulated = "-races" if tools.races else "-emulate" if tools.emulate else ""
    kind = f"native{'-sanitize' if tools.sanitize else ''}{emulated}"
    build_dir = ROOT / "build" / f"{kind}{suffix.removesuffix('.so')}"
    build_dir.mkdir(parents=True, exist_ok=True)
    library = Path(f"_C{suffix}")
    print(
        f"rrnn_ext: {tools.cxx}, PyTorch {version('torch')}, SIMD {' '.join(('baseline', *tools.isas))}, "
        f"CUDA {'emulated' if tools.emulate else ' '.join(tools.cuda_archs) or 'off'}"
        f"{', sanitizers' if tools.sanitize else ''}",
        flush=True,
    )
    (build_dir / "build.ninja").write_text(ninja_file(tools, library))
    jobs = os.environ.get("MAX_JOBS")
    command = [tools.ninja, *(["-j", jobs] if jobs else [])]
    # make lends its jobs to other makes alone.
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    if subprocess.run(command, cwd=build_dir, env=environment).returncode != 0:
        sys.exit("rrnn_ext: the native library did not compile; the compiler's messages are above")
    return build_dir / library


def build_package(folder: str) -> None:
    """The package in ``folder``, its sources included, without setuptools: an old one cannot read pyproject.toml, and a
    machine with a GPU for some minutes may have one."""
    package = ROOT / folder / "rrnn_ext"
    if package != ROOT / "rrnn_ext":
        shutil.copytree(ROOT / "rrnn_ext", package, ignore=shutil.ignore_patterns("*.so"), dirs_exist_ok=True)
    library = build_library()
    shutil.copy(library, package / library.name)


class NinjaBuildExt(build_ext):
    """Hands the one extension to ninja."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        self.copy_file(str(build_library()), str(target))


if __name__ == "__main__":
    setup(
        ext_modules=[
            Extension(
                MODULE,
                sources=[str(path.relative_to(ROOT)) for path in sources("**/*.cpp", "**/*.cu")],
                depends=[str(path.relative_to(ROOT)) for path in sources("**/*.h", "**/*.cuh")],
            )
        ],
        cmdclass={"build_ext": NinjaBuildExt},
    )
