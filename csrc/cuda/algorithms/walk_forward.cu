// The chain of the narrower side, with the other side's where the gradient will want both, and the walks it yields.
#include "cuda/algorithms/finite_walks.h"
#include "cuda/algorithms/walk_read_out.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"
#include "cuda/kernels/chains.h"

namespace rrnn::cuda {
namespace {

// The bundles that start from the sides whose vectors the chain has.
template <typename T>
Chains<T> chains_of(const WalkBatch<T>& problem, T* chain, bool both) {
  const int n = static_cast<int>(problem.n), inputs = static_cast<int>(problem.inputs);
  const int outputs = static_cast<int>(problem.outputs);
  const int64_t hop_stride = (both ? problem.inputs + problem.outputs : problem.width()) * n;
  const int64_t stride = problem.hops * hop_stride;
  Chains<T> chains{static_cast<int>(problem.graphs),
                   n,
                   static_cast<int>(problem.hops),
                   problem.weight_hh,
                   problem.alpha,
                   problem.rectify,
                   {},
                   {}};
  if (both || problem.from_inputs())
    chains.forwards = {inputs, chain, stride, hop_stride, problem.weight_in, inputs, 1};
  if (both || !problem.from_inputs()) {
    T* from_outputs = both && chain ? chain + problem.inputs * n : chain;
    chains.backwards = {outputs, from_outputs, stride, hop_stride, problem.weight_out, 1, n};
  }
  return chains;
}

// The pieces of scratch memory; from null on only their size counts.
template <typename T>
struct Memory {
  ChainPlan plan;
  unsigned* arrived;
  T *exchange, *chain;  // where none is to be kept
  void* read_out;
  int64_t bytes;

  Memory(const WalkBatch<T>& problem, const WalkResults<T>& to, void* memory) {
    const Chains<T> chains = chains_of<T>(problem, nullptr, to.kind == ChainKind::kBoth);
    plan = plan_chains(chains);
    SharedPieces pieces(static_cast<unsigned char*>(memory));
    read_out = pieces.take<unsigned char>(read_out_scratch(problem, to.norm));
    exchange = pieces.take<T>(plan.exchange_size(chains.forwards.width, chains.backwards.width));
    chain = pieces.take<T>(to.kind == ChainKind::kNone ? problem.graphs * chains_stride(chains) : 0);
    arrived = pieces.take<unsigned>(problem.graphs);
    bytes = pieces.bytes();
  }

 private:
  static int64_t chains_stride(const Chains<T>& chains) {
    return chains.hops * static_cast<int64_t>(chains.forwards.width + chains.backwards.width) * chains.n;
  }
};

}  // namespace

template <typename T>
int64_t walk_forward_scratch(const WalkBatch<T>& problem, const WalkResults<T>& to) {
  if (problem.empty())
    return to.norm ? norm_of_walks_scratch(*to.norm, problem.graphs) * static_cast<int64_t>(sizeof(double)) : 0;
  return Memory<T>(problem, to, nullptr).bytes;
}

template <typename T>
void walk_forward(const WalkBatch<T>& problem, const WalkResults<T>& to, void* scratch, cudaStream_t stream) {
  if (problem.empty()) {
    const int64_t count = problem.graphs * problem.terms() * problem.pairs();
    if (count) check_cuda(cudaMemsetAsync(to.walks, 0, count * sizeof(T), stream), "memset");
    if (to.norm) norm_of_walks(*to.norm, problem.graphs, to.value, static_cast<double*>(scratch), stream);
    return;
  }
  const Memory<T> memory(problem, to, scratch);
  const bool keeps = to.kind != ChainKind::kNone;
  Chains<T> chains = chains_of<T>(problem, keeps ? to.chain : memory.chain, to.kind == ChainKind::kBoth);
  chains.zeros = memory.arrived;
  advance_chains(chains, memory.plan, memory.exchange, stream);
  const Bundle<T>& narrow = problem.from_inputs() ? chains.forwards : chains.backwards;
  read_out<T>({.problem = problem,
               .chain = narrow.chain,
               .chain_stride = narrow.chain_stride,
               .hop_stride = narrow.hop_stride,
               .walks = to.walks,
               .norm = to.norm,
               .value = to.value,
               .arrived = memory.arrived,
               .scratch = memory.read_out},
              stream);
}

#define RRNN_INSTANTIATE(T)                                                          \
  template int64_t walk_forward_scratch(const WalkBatch<T>&, const WalkResults<T>&); \
  template void walk_forward(const WalkBatch<T>&, const WalkResults<T>&, void*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
