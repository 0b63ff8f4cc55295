// Chains of float32 from both sides of one graph, without PyTorch: what hop_parts.py links with each variant of the
// kernel and times.
#include <exception>

#include "cuda/kernels/chains.h"

#define RRNN_EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

using namespace rrnn::cuda;

// start_in (n, inputs), start_out (outputs, n), the chain (hops, inputs + outputs, n).
Chains<float> problem(int n, int inputs, int outputs, int hops, const float* weight_hh, const float* start_in,
                      const float* start_out, float* chain) {
  const int64_t hop_stride = int64_t{inputs + outputs} * n, chain_stride = hops * hop_stride;
  Chains<float> chains{1, n, hops, weight_hh, 1.0f, false, {}, {}};
  chains.forwards = {inputs, chain, chain_stride, hop_stride, start_in, inputs, 1};
  chains.backwards = {outputs, chain + int64_t{inputs} * n, chain_stride, hop_stride, start_out, 1, n};
  return chains;
}

}  // namespace

// How many numbers `exchange` must hold.
RRNN_EXPORTED int64_t hop_parts_exchange_size(int n, int inputs, int outputs, int hops) {
  const Chains<float> chains = problem(n, inputs, outputs, hops, nullptr, nullptr, nullptr, nullptr);
  return plan_chains(chains).exchange_size(inputs, outputs);
}

// 0, or 1 where CUDA refused.
RRNN_EXPORTED int hop_parts_advance(int n, int inputs, int outputs, int hops, const float* weight_hh,
                                    const float* start_in, const float* start_out, float* chain, float* exchange,
                                    cudaStream_t stream) {
  const Chains<float> chains = problem(n, inputs, outputs, hops, weight_hh, start_in, start_out, chain);
  try {
    advance_chains(chains, plan_chains(chains), exchange, stream);
  } catch (const std::exception&) {
    return 1;
  }
  return 0;
}
