// The penalty of finite walks and its gradient, on CUDA tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "common/gradient_target.h"
#include "common/one_pathway.h"
#include "common/pair_weights.h"
#include "common/walk_arguments.h"
#include "cuda/algorithms/finite_walks.h"
#include "cuda/algorithms/one_pathway.h"
#include "cuda/device/stream.h"
#include "cuda/device/workspace.h"
#include "cuda/ops/walk_graphs.h"

namespace rrnn::cuda {
namespace {

// Room for each graph's own gradient of a side that all of them share, until they are added up.
template <typename T>
class Side {
 public:
  Side(const WalkArguments& graphs, const GradientTarget& target, int64_t rows, int64_t columns, bool adds)
      : graphs_(graphs.count()),
        rows_(rows),
        columns_(columns),
        target_{target.of<T>(0), target.graph_stride(), target.row_stride(), adds},
        is_shared_(target.is_shared()),
        of_each_(Workspace::of<T>(graphs.weight_hh, is_shared_ ? graphs_ * rows * columns : 0)) {}

  GradientRows<T> rows() const {
    return is_shared_ ? GradientRows<T>{of_each_.template get<T>(), rows_ * columns_, columns_, false} : target_;
  }
  void finish(cudaStream_t stream) const {
    if (is_shared_) add_up_graphs<T>(of_each_.template get<T>(), graphs_, rows_, columns_, target_, stream);
  }

 private:
  int64_t graphs_, rows_, columns_;
  GradientRows<T> target_;
  bool is_shared_;
  Workspace of_each_;
};

// Which chain the forward is to keep: both in one pass, where the wider side is little wider.
ChainKind kind_for(const WalkArguments& graphs) {
  constexpr int64_t kMostApart = 16;
  const int64_t inputs = graphs.inputs, outputs = graphs.outputs;
  const bool may_keep_both = graphs.weight_in && graphs.weight_out && !graphs.per_hop && !graphs.hop_weights;
  const bool few = 0 < inputs && inputs <= kMostOfBoth && 0 < outputs && outputs <= kMostOfBoth;
  return may_keep_both && few && std::abs(inputs - outputs) <= kMostApart ? ChainKind::kBoth : ChainKind::kNarrow;
}

template <typename T>
void walk_value_and_grad(const WalkArguments& graphs, const PairWeights& pairs, Norm norm, double strength,
                         const WalkGradients<T>& to, const Tensor& value, cudaStream_t stream) {
  const ChainKind kind = kind_for(graphs);
  const Tensor walks = graphs.empty({graphs.terms(), graphs.outputs, graphs.inputs});
  const Tensor chain = graphs.empty({graphs.hops, graphs.chain_width(kind), graphs.n});
  const WalkBatch<T> walk = problem<T>(graphs);
  const WalkNorm<T> of_walks = walk_norm<T>(graphs, pairs, norm, walks);
  run_forward(graphs, walk, kind, walks, chain, &of_walks, &value, stream);
  const Workspace memory = Workspace::of<T>(graphs.weight_hh, walk_backward_scratch(walk, kind));
  walk_backward<T>(walk, kind, {nullptr, nullptr, static_cast<T>(strength), of_walks}, at<T>(chain, 0, 0), to,
                   memory.get<T>(), stream);
}

// Where walks cannot cancel.
template <typename T>
void pathway_value_and_grad(const WalkArguments& graphs, double strength, const WalkGradients<T>& to,
                            const Tensor& value, cudaStream_t stream) {
  const int64_t n = graphs.n;
  const OnePathway one(graphs);
  const WalkProblem<T> all = graphs.problem<T>(0);
  const Sides<T> sides{graphs.count(),
                       n,
                       all.weight_in ? graphs.inputs : 0,
                       all.weight_out ? graphs.outputs : 0,
                       all.weight_in,
                       all.weight_out,
                       static_cast<T>(OnePathway::left_out(graphs))};
  T *grad_sources = at<T>(one.grad_sources, 0, 0), *grad_targets = at<T>(one.grad_targets, 0, 0);
  add_up_sides(sides, at<T>(one.sources, 0, 0), at<T>(one.targets, 0, 0), stream);
  walk_value_and_grad<T>(one.graphs, PairWeights(std::nullopt, graphs, 1, 1), Norm::kL1, strength,
                         {to.hh, {grad_sources, n, 1, false}, {grad_targets, n, n, false}}, value, stream);
  spread_over_sides<T>(sides, grad_sources, grad_targets, to.in, to.out, stream);
}

Tensor value_and_grad(const WalkArguments& graphs, const PairWeights& pairs, Norm norm, double strength,
                      const GradientTargets& targets, bool adds, cudaStream_t stream) {
  const Tensor value = graphs.empty({});
  dispatch(graphs.weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const Side<T> in(graphs, targets.in, graphs.n, graphs.inputs, adds);
    const Side<T> out(graphs, targets.out, graphs.outputs, graphs.n, adds);
    const WalkGradients<T> to{
        {targets.hh.of<T>(0), targets.hh.graph_stride(), targets.hh.row_stride(), adds}, in.rows(), out.rows()};
    if (is_one_pathway(graphs, pairs, norm))
      pathway_value_and_grad(graphs, strength, to, value, stream);
    else
      walk_value_and_grad(graphs, pairs, norm, strength, to, value, stream);
    in.finish(stream);
    out.finish(stream);
  });
  return value;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> penalty_value_and_grad(
    double strength, Tensor weight_hh, std::optional<Tensor> weight_in, std::optional<Tensor> weight_out,
    std::optional<Tensor> hop_weights, std::optional<Tensor> pair_weights, double alpha, int64_t hops, bool rectify,
    bool per_hop, int64_t norm) {
  const CurrentDevice current(weight_hh);
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs, graphs.outputs, graphs.inputs);
  const OwnGradients own(graphs);
  Tensor value = value_and_grad(graphs, pairs, norm_of(norm), strength, own.targets(graphs), false, current.stream());
  return {value, own.hh, own.in, own.out};
}

Tensor penalty_value_and_grad_accumulate(std::optional<Tensor> grad_hh, std::optional<Tensor> grad_in,
                                         std::optional<Tensor> grad_out, double strength, Tensor weight_hh,
                                         std::optional<Tensor> weight_in, std::optional<Tensor> weight_out,
                                         std::optional<Tensor> hop_weights, std::optional<Tensor> pair_weights,
                                         double alpha, int64_t hops, bool rectify, bool per_hop, int64_t norm) {
  const CurrentDevice current(weight_hh);
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs, graphs.outputs, graphs.inputs);
  const GradientTargets to(graphs, grad_hh, grad_in, grad_out);
  return value_and_grad(graphs, pairs, norm_of(norm), strength, to, true, current.stream());
}

}  // namespace
}  // namespace rrnn::cuda

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, RRNN_CUDA_KEY, m) {
  m.impl("penalty_value_and_grad", TORCH_BOX(&rrnn::cuda::penalty_value_and_grad));
  m.impl("penalty_value_and_grad_accumulate", TORCH_BOX(&rrnn::cuda::penalty_value_and_grad_accumulate));
}
