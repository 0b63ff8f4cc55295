// The arguments of the ops of walks through a network that ran.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/checks.h"
#include "common/driven_problem.h"
#include "common/tensors.h"

namespace rrnn {

struct DrivenArguments {
  Tensor weight_hh, weight_ih, entering, gains;
  std::optional<Tensor> input_gains, carries, hop_weights;
  double alpha;
  int64_t edges;
  bool per_hop;
  int64_t n, rows, parts, inputs, networks, width, hops;

  DrivenArguments(const Tensor& hh, const Tensor& ih, const Tensor& enters, const Tensor& gain,
                  const std::optional<Tensor>& input_gain, const std::optional<Tensor>& carry,
                  const std::optional<Tensor>& weights, double alpha, int64_t edges, bool per_hop)
      : weight_hh(dense(hh)),
        weight_ih(dense(ih)),
        entering(dense(enters)),
        gains(dense(gain)),
        alpha(alpha),
        edges(edges),
        per_hop(per_hop) {
    check_floating(hh);
    STD_TORCH_CHECK(hh.dim() == 2 && hh.size(1) > 0 && hh.size(0) > 0 && hh.size(0) % hh.size(1) == 0,
                    "weight_hh must be (gates x n, n), got ", shape_of(hh));
    rows = hh.size(0);
    n = hh.size(1);
    check_like("weight_ih", ih, hh);
    check_matrix("weight_ih", ih, std::nullopt, rows, -1);
    inputs = ih.size(1);
    STD_TORCH_CHECK(gain.dim() == 4 && gain.size(0) > 0 && gain.size(1) > 0 && gain.size(2) > 0 && gain.size(3) == rows,
                    "gains must be (hops, networks, parts, ", rows, ") with at least one of each, got ",
                    shape_of(gain));
    check_like("gains", gain, hh);
    hops = gain.size(0);
    networks = gain.size(1);
    parts = gain.size(2);
    const int64_t dims = enters.dim();
    STD_TORCH_CHECK((dims == 2 || (dims == 4 && enters.size(0) == hops && enters.size(1) == networks)) &&
                        enters.size(dims - 1) == n,
                    "entering must be (width, ", n, ") or ", text({hops, networks, -1, n}), ", got ", shape_of(enters));
    check_like("entering", enters, hh);
    width = enters.size(dims - 2);
    input_gains = checked("input_gains", input_gain, {hops, networks, parts, rows});
    carries = checked("carries", carry, {hops, networks, parts, parts, n});
    hop_weights = checked("hop_weights", weights, {hops});
  }

  bool enters_each_hop() const { return entering.dim() == 4; }
  int64_t terms() const { return per_hop ? hops : 1; }
  int64_t pairs() const { return width * inputs; }
  bool is_empty() const { return pairs() == 0; }

  template <typename T>
  DrivenProblem<T> problem() const {
    const T* input = input_gains ? data<T>(*input_gains) : data<T>(gains);
    return {n,
            rows / n,
            parts,
            inputs,
            networks,
            width,
            hops,
            data<T>(weight_hh),
            data<T>(weight_ih),
            data<T>(entering),
            enters_each_hop(),
            data<T>(gains),
            input,
            carries ? data<T>(*carries) : nullptr,
            static_cast<T>(alpha),
            scale_of(static_cast<T>(alpha)),
            per_hop,
            weights_of_hops<T>()};
  }

  template <typename T>
  DrivenNorm<T> norm(int64_t kind, const Tensor& walks, const std::optional<Tensor>& pair_weights) const {
    return {norm_of(kind),
            terms(),
            networks,
            pairs(),
            data<T>(walks),
            per_hop ? weights_of_hops<T>() : nullptr,
            pair_weights ? data<T>(*pair_weights) : nullptr};
  }

  std::optional<Tensor> checked(const char* name, const std::optional<Tensor>& given,
                                const std::vector<int64_t>& sizes) const {
    if (!given) return std::nullopt;
    check_like(name, *given, weight_hh);
    bool fits = given->dim() == static_cast<int64_t>(sizes.size());
    for (size_t d = 0; fits && d < sizes.size(); ++d) fits = given->size(static_cast<int64_t>(d)) == sizes[d];
    STD_TORCH_CHECK(fits, name, " must be ", text(sizes), ", got ", shape_of(*given));
    return dense(*given);
  }

  Tensor empty_walks() const { return empty_of(weight_hh, {terms(), networks, width, inputs}); }
  Tensor empty_chain(bool keep) const {
    if (!keep) return empty_of(weight_hh, {0});
    return empty_of(weight_hh, {hops, parts, networks, width, n});
  }
  Tensor check_chain(const Tensor& chain) const {
    return *checked("chain, as the forward op keeps it,", chain, {hops, parts, networks, width, n});
  }
  Tensor check_walks(const char* name, const Tensor& walks) const {
    return *checked(name, walks, {terms(), networks, width, inputs});
  }

 private:
  template <typename T>
  T scale_of(T alpha) const {
    T scale = 1;
    for (int64_t edge = 0; edge < edges; ++edge) scale *= alpha;
    return scale;
  }
  template <typename T>
  static const T* data(const Tensor& tensor) {
    return static_cast<const T*>(tensor.const_data_ptr());
  }
  template <typename T>
  const T* weights_of_hops() const {
    return hop_weights ? data<T>(*hop_weights) : nullptr;
  }
  static std::string text(const std::vector<int64_t>& sizes) {
    std::string found = "(";
    for (size_t d = 0; d < sizes.size(); ++d)
      found += (d ? ", " : "") + (sizes[d] < 0 ? std::string("*") : std::to_string(sizes[d]));
    return found + (sizes.size() == 1 ? ",)" : ")");
  }
};

}  // namespace rrnn
