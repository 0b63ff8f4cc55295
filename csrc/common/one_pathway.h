// Where walks cannot cancel, the penalty is one sum of strengths: that of the walks from all inputs, as one, to all
// outputs, as one. With u = |U| 1 and v = |V|' 1 the gradients by |U| and |V| are those by u and v, of each column and
// row alike.
#pragma once

#include "common/pair_weights.h"
#include "common/walk_arguments.h"

namespace rrnn {

inline bool is_one_pathway(const WalkArguments& graphs, const PairWeights& pairs, Norm norm) {
  const bool is_plain = graphs.rectify && norm == Norm::kL1 && !pairs.are_given();
  const bool of_one_alone = graphs.weight_in && graphs.weight_out && graphs.inputs == 1 && graphs.outputs == 1;
  // A weighted sum of hops may cancel: its factors may be negative.
  return is_plain && (graphs.per_hop || !graphs.hop_weights) && !of_one_alone;
}

// That graph and the room for its gradients.
struct OnePathway {
  Tensor sources, targets;  // (n, 1) and (1, n) of each graph, to be filled
  WalkArguments graphs;
  Tensor grad_sources, grad_targets;

  explicit OnePathway(const WalkArguments& all)
      : sources(all.empty({all.n, 1})),
        targets(all.empty({1, all.n})),
        // Hops add up where nothing tells them from one another.
        graphs(all.weight_hh, sources, targets, all.hop_weights, all.alpha, all.hops, true,
               all.per_hop && all.hop_weights.has_value()),
        grad_sources(all.empty({all.n, 1})),
        grad_targets(all.empty({1, all.n})) {}

  // For each unit, where a side is left out: it has no edge of its own.
  static double left_out(const WalkArguments& all) { return 1 / all.alpha; }
};

}  // namespace rrnn
