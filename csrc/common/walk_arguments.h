// The arguments of the ops of finite walks: graphs with their sides, what is asked of the walks, the chain.
#pragma once

#include <cstdint>
#include <optional>

#include "common/checks.h"
#include "common/graphs.h"
#include "common/tensors.h"
#include "common/walk_problem.h"

namespace rrnn {

struct WalkArguments : Graphs {
  std::optional<Tensor> weight_in, weight_out, hop_weights;
  double alpha;
  int64_t hops;
  bool rectify, per_hop;
  int64_t inputs, outputs;

  WalkArguments(const Tensor& hh, const std::optional<Tensor>& in, const std::optional<Tensor>& out,
                const std::optional<Tensor>& weights, double alpha, int64_t hops, bool rectify, bool per_hop)
      : Graphs(hh), alpha(alpha), hops(hops), rectify(rectify), per_hop(per_hop), inputs(n), outputs(n) {
    STD_TORCH_CHECK(hops >= 1, "hops must be at least 1, got ", hops);
    STD_TORCH_CHECK(in || out, "weight_in or weight_out must be given");
    if (in) {
      check_like("weight_in", *in, hh);
      check_matrix("weight_in", *in, batch, n, -1);
      inputs = in->size(in->dim() - 1);
      weight_in = dense(*in);
    }
    if (out) {
      check_like("weight_out", *out, hh);
      check_matrix("weight_out", *out, batch, -1, n);
      outputs = out->size(out->dim() - 2);
      weight_out = dense(*out);
    }
    if (weights) {
      check_like("hop_weights", *weights, hh);
      check_vector("hop_weights", *weights, batch, hops);
      hop_weights = dense(*weights);
    }
  }

  int64_t pairs() const { return inputs * outputs; }
  int64_t terms() const { return per_hop ? hops : 1; }

  // Of graph `index`; of a batch on CUDA, that of graph 0 with all hops is the problem of all.
  template <typename T>
  WalkProblem<T> problem(int64_t index) const {
    return {n,
            inputs,
            outputs,
            hops,
            data<T>(weight_in, index, n * inputs),
            data<T>(weight_out, index, outputs * n),
            static_cast<T>(alpha),
            rectify,
            per_hop,
            per_hop ? nullptr : hop_weights_of<T>(index)};
  }

  template <typename T>
  const T* hop_weights_of(int64_t index) const {
    return data<T>(hop_weights, has_own_hop_weights() ? index : 0, hops);
  }
  bool has_own_hop_weights() const { return hop_weights && hop_weights->dim() == 2; }  // rather than those of all

  // Up to the last hop that has a weight; at least one.
  template <typename T>
  int64_t weighted_hops(int64_t index) const {
    int64_t last = hops;
    if (!hop_weights || hop_weights->numel() == 0) return last;
    const T* weights = hop_weights_of<T>(index);
    while (last > 1 && weights[last - 1] == 0) --last;
    return last;
  }

  ChainKind chain_kind(int64_t kind) const {
    STD_TORCH_CHECK(0 <= kind && kind <= 2, "chain_kind must be 0 (none), 1 (narrow) or 2 (both), got ", kind);
    STD_TORCH_CHECK(kind != static_cast<int64_t>(ChainKind::kBoth) || may_keep_both(),
                    "chain_kind 2 (both) needs weight_in and weight_out, and a sum without hop_weights");
    return static_cast<ChainKind>(kind);
  }
  int64_t chain_width(ChainKind kind) const {
    return kind == ChainKind::kNone ? 0 : kind == ChainKind::kBoth ? inputs + outputs : narrow_width();
  }

  // The kind of a chain that the forward made.
  ChainKind kind_of(const Tensor& chain) const {
    check_like("chain", chain, weight_hh);
    const int64_t dims = batch ? 4 : 3, width = chain.dim() == dims ? chain.size(dims - 2) : -1;
    const bool fits = width >= 0 && (!batch || chain.size(0) == *batch) && chain.size(dims - 3) == hops &&
                      chain.size(dims - 1) == n &&
                      (width == narrow_width() || (width == inputs + outputs && may_keep_both()));
    STD_TORCH_CHECK(fits, "chain must be (", batch ? std::to_string(*batch) + ", " : "", hops, ", width, ", n,
                    ") as the forward op keeps it, got ", shape_of(chain));
    return width == narrow_width() ? ChainKind::kNarrow : ChainKind::kBoth;
  }

 private:
  bool may_keep_both() const { return weight_in && weight_out && !per_hop && !hop_weights; }
  int64_t narrow_width() const { return !weight_out || (weight_in && inputs <= outputs) ? inputs : outputs; }

  template <typename T>
  static const T* data(const std::optional<Tensor>& tensor, int64_t index, int64_t size) {
    static const T nothing{};  // null means not given, and an empty tensor has no pointer of its own
    if (!tensor) return nullptr;
    return tensor->numel() == 0 ? &nothing : static_cast<const T*>(tensor->const_data_ptr()) + index * size;
  }
};

inline void check_grad_walks(const Tensor& grad_walks, const WalkArguments& arguments) {
  check_like("grad_walks", grad_walks, arguments.weight_hh);
  STD_TORCH_CHECK(grad_walks.numel() == arguments.count() * arguments.terms() * arguments.pairs(),
                  "grad_walks must have the shape of walks, got ", shape_of(grad_walks));
}

inline void check_walks(const Tensor& walks, const WalkArguments& arguments) {
  check_like("walks", walks, arguments.weight_hh);
  STD_TORCH_CHECK(walks.numel() == arguments.count() * arguments.terms() * arguments.pairs(),
                  "walks must come from the forward op, got ", shape_of(walks));
}

}  // namespace rrnn
