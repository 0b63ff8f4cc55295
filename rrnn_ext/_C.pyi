from typing import TypedDict

class BuildInfo(TypedDict):
    compiler: str
    cxx_standard: int
    torch_target_version: str
    simd_compiled: list[str]
    simd_selected: str
    parallel: str
    cuda_archs: list[str]
    cuda_emulated: bool
    sanitized: bool

def build_info() -> BuildInfo: ...

# Where CUDA kernels are emulated alone.
def record_launches(stream: int) -> None: ...
def recorded_launches() -> list[tuple[int, int, int]]: ...
