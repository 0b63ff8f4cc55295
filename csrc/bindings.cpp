// The module rrnn_ext._C: the schemas of the ops, and build_info() for what is not a tensor op.

// The pybind11 of PyTorch before 2.13 refuses to be included where this is defined.
#pragma push_macro("TORCH_TARGET_VERSION")
#undef TORCH_TARGET_VERSION
#include <pybind11/pybind11.h>
#pragma pop_macro("TORCH_TARGET_VERSION")

#include <torch/csrc/stable/library.h>

#include <string>

#include "cpu/kernels.h"

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
  info["simd_selected"] = rrnn::kernels<float>(1e9).isa;
  info["parallel"] = "torch::stable::parallel_for";
  info["cuda_archs"] = py::str(RRNN_CUDA_ARCHS).attr("split")();
  info["cuda_emulated"] = cuda_emulated();
  info["sanitized"] = sanitized();
  return info;
}

}  // namespace

// One graph: weight_hh (n, n), weight_in (n, i), weight_out (o, n); or a batch of them, (b, n, n) and so on. A side
// left out is the identity. `walks` is (terms, o, i), terms = hops where per_hop, else 1; `chain` is what the backward
// needs.
STABLE_TORCH_LIBRARY(rrnn_ext, m) {
  m.def(
      "walk_sums(Tensor weight_hh, Tensor? weight_in, Tensor? weight_out, Tensor? hop_weights, float alpha, SymInt "
      "hops, "
      "bool rectify, bool per_hop, bool keep_chain) -> (Tensor walks, Tensor chain)");
  m.def(
      "walk_sums_backward(Tensor grad_walks, Tensor chain, Tensor weight_hh, Tensor? weight_in, Tensor? weight_out, "
      "Tensor? hop_weights, float alpha, SymInt hops, bool rectify, bool per_hop) "
      "-> (Tensor grad_hh, Tensor grad_in, Tensor grad_out)");
  m.def(
      "walk_penalty(Tensor weight_hh, Tensor? weight_in, Tensor? weight_out, Tensor? hop_weights, "
      "Tensor? pair_weights, float alpha, SymInt hops, bool rectify, bool per_hop, bool squared, bool keep_chain) "
      "-> (Tensor value, Tensor walks, Tensor chain)");
  m.def(
      "walk_penalty_backward(Tensor grad_value, Tensor walks, Tensor chain, Tensor weight_hh, Tensor? weight_in, "
      "Tensor? weight_out, Tensor? hop_weights, Tensor? pair_weights, float alpha, SymInt hops, bool rectify, "
      "bool per_hop, bool squared) -> (Tensor grad_hh, Tensor grad_in, Tensor grad_out)");

  // Infinite sums of a batch, weight_hh (b, n, n), vectors (b, n). `found` and `converges`, (b), are 1 where the sum
  // was proved to converge, and 0 where that is open.
  m.def(
      "pathway_solve(Tensor weight_hh, Tensor sources, Tensor targets, float alpha) "
      "-> (Tensor x, Tensor y, Tensor found)");
  m.def("pathway_solve_backward(Tensor scale, Tensor weight_hh, Tensor x, Tensor y, float alpha) -> Tensor");
  m.def(
      "all_pairs_penalty(Tensor weight_hh, Tensor? pair_weights, float alpha, bool rectify, bool squared) "
      "-> (Tensor value, Tensor walks, Tensor converges)");
  m.def(
      "all_pairs_penalty_backward(Tensor grad_value, Tensor walks, Tensor weight_hh, Tensor? pair_weights, "
      "float alpha, bool rectify, bool squared) -> Tensor");
}

PYBIND11_MODULE(_C, m) {
  m.doc() = "Native kernels of rrnn_ext. Importing it registers the ops torch.ops.rrnn_ext.*.";
  m.def("build_info", &build_info, "How this library was built: compiler, instruction sets, CUDA architectures.");
}
