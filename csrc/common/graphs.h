// One graph or a batch of graphs with sides, as the ops of finite walks are given them.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <optional>

#include "common/checks.h"
#include "common/tensors.h"

namespace rrnn {

struct Graphs {
  Tensor weight_hh;
  std::optional<Tensor> weight_in, weight_out, hop_weights;
  double alpha;
  int64_t hops;
  bool rectify, per_hop;
  std::optional<int64_t> batch;
  int64_t n, inputs, outputs;

  Graphs(const Tensor& hh, const std::optional<Tensor>& in, const std::optional<Tensor>& out,
         const std::optional<Tensor>& weights, double alpha, int64_t hops, bool rectify, bool per_hop)
      : weight_hh(dense(hh)), alpha(alpha), hops(hops), rectify(rectify), per_hop(per_hop) {
    check_floating(hh);
    STD_TORCH_CHECK(hh.dim() == 2 || hh.dim() == 3, "weight_hh must be (n, n) or (batch, n, n), got ", shape_of(hh));
    STD_TORCH_CHECK(hops >= 1, "hops must be at least 1, got ", hops);
    STD_TORCH_CHECK(in || out, "weight_in or weight_out must be given");
    if (hh.dim() == 3) batch = hh.size(0);
    n = hh.size(hh.dim() - 1);
    check_matrix("weight_hh", hh, batch, n, n);
    inputs = outputs = n;
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

  int64_t count() const { return batch.value_or(1); }
  int64_t pairs() const { return inputs * outputs; }
  int64_t terms() const { return per_hop ? hops : 1; }

  template <typename T>
  static const T* data(const std::optional<Tensor>& tensor, int64_t index, int64_t size) {
    static const T nothing{};  // null means not given, and an empty tensor has no pointer of its own
    if (!tensor) return nullptr;
    return tensor->numel() == 0 ? &nothing : static_cast<const T*>(tensor->const_data_ptr()) + index * size;
  }

  template <typename T>
  const T* hop_weights_of(int64_t index) const {
    return data<T>(hop_weights, hop_weights && hop_weights->dim() == 2 ? index : 0, hops);
  }

  // Up to the last hop that has a weight; at least one.
  template <typename T>
  int64_t weighted_hops(int64_t index) const {
    int64_t last = hops;
    if (!hop_weights || hop_weights->numel() == 0) return last;
    const T* weights = hop_weights_of<T>(index);
    while (last > 1 && weights[last - 1] == 0) --last;
    return last;
  }

  Tensor empty(std::initializer_list<int64_t> own) const {
    int64_t sizes[4], dims = 0;
    if (batch) sizes[dims++] = *batch;
    for (const int64_t size : own) sizes[dims++] = size;
    return empty_of(weight_hh, sizes, dims);
  }
};

inline void check_grad_walks(const Tensor& grad_walks, const Graphs& graphs) {
  check_like("grad_walks", grad_walks, graphs.weight_hh);
  STD_TORCH_CHECK(grad_walks.numel() == graphs.count() * graphs.terms() * graphs.pairs(),
                  "grad_walks must have the shape of walks, got ", shape_of(grad_walks));
}

inline void check_walks(const Tensor& walks, const Graphs& graphs) {
  check_like("walks", walks, graphs.weight_hh);
  STD_TORCH_CHECK(walks.numel() == graphs.count() * graphs.terms() * graphs.pairs(),
                  "walks must come from the forward op, got ", shape_of(walks));
}

inline void check_grad_value(const Tensor& grad_value, const Graphs& graphs) {
  check_like("grad_value", grad_value, graphs.weight_hh);
  STD_TORCH_CHECK(grad_value.numel() == graphs.count(), "grad_value must have one element a graph, got ",
                  shape_of(grad_value));
}

}  // namespace rrnn
