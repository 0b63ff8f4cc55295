// The module rrnn_ext._C: build_info(), and, where CUDA kernels are emulated, what was launched. Importing it registers
// the ops, whose schemas are in ops/.

// The pybind11 of PyTorch before 2.13 refuses to be included where this is defined.
#pragma push_macro("TORCH_TARGET_VERSION")
#undef TORCH_TARGET_VERSION
#include <pybind11/pybind11.h>
#pragma pop_macro("TORCH_TARGET_VERSION")

#include <string>

#include "cpu/kernels/kernels.h"

#ifdef RRNN_EMULATE
#include "machine.h"
#endif

namespace py = pybind11;

namespace {

std::string compiler() {
#if defined(__clang__)
  return std::string("clang ") + __clang_version__;
#else
  return std::string("gcc ") + __VERSION__;
#endif
}

// TORCH_TARGET_VERSION holds major, minor and patch version in its three highest bytes.
std::string torch_target_version() {
  constexpr unsigned long long version = TORCH_TARGET_VERSION;
  return std::to_string(version >> 56) + "." + std::to_string(version >> 48 & 0xff);
}

bool sanitized() {
#if defined(__SANITIZE_ADDRESS__)
  return true;
#else
  return false;
#endif
}

// Whether the CUDA kernels run on the CPU, as the ops of CPU tensors: a build for tests.
bool cuda_emulated() {
#if defined(RRNN_EMULATE)
  return true;
#else
  return false;
#endif
}

py::list simd_compiled() {
  py::list isas;
  isas.append("baseline");
#ifdef RRNN_AVX2
  isas.append("avx2");
#endif
#ifdef RRNN_AVX512
  isas.append("avx512");
#endif
  return isas;
}

py::dict build_info() {
  py::dict info;
  info["compiler"] = compiler();
  info["cxx_standard"] = static_cast<long>(__cplusplus);
  info["torch_target_version"] = torch_target_version();
  info["simd_compiled"] = simd_compiled();
  info["simd_selected"] = rrnn::cpu::kernels<float>(1e9).isa;
  info["parallel"] = "torch::stable::parallel_for";
  info["cuda_archs"] = py::str(RRNN_CUDA_ARCHS).attr("split")();
  info["cuda_emulated"] = cuda_emulated();
  info["sanitized"] = sanitized();
  return info;
}

#ifdef RRNN_EMULATE
void record_launches(uintptr_t stream) {
  const std::lock_guard<std::mutex> lock(emulation::machine);
  emulation::launched.clear();
  emulation::records_launches = true;
  emulation::current_stream = reinterpret_cast<cudaStream_t>(stream);
}

py::list recorded_launches() {
  const std::lock_guard<std::mutex> lock(emulation::machine);
  py::list launches;
  for (const auto& [stream, blocks, barriers] : emulation::launched)
    launches.append(py::make_tuple(reinterpret_cast<uintptr_t>(stream), blocks, barriers));
  emulation::records_launches = false;
  emulation::current_stream = nullptr;
  return launches;
}
#endif

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Native kernels of rrnn_ext. Importing it registers the ops torch.ops.rrnn_ext.*.";
  m.def("build_info", &build_info, "How this library was built: compiler, instruction sets, CUDA architectures.");
#ifdef RRNN_EMULATE
  m.attr("watches_accesses") = emulation::kWatchesAccesses;
  m.def("record_launches", &record_launches, "From here on launches are recorded; this is the current stream.");
  m.def("recorded_launches", &recorded_launches, "Ends it: stream, blocks and barriers between blocks of each launch.");
#endif
}
