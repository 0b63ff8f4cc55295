// How the work of chains is laid out on blocks, by rough times of what could be done.
#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>

#include "cuda/device/launch.h"
#include "cuda/kernels/chain_layout.h"
#include "cuda/kernels/chains.h"

namespace rrnn::cuda {

using namespace chain_layout;

namespace {

// Rough times of one hop, in microseconds, to choose between layouts; only their proportions matter.
constexpr double kGridBarrier = 1.5, kClusterBarrier = 0.5, kBlockBarrier = 0.1;
constexpr double kMultiplyAddsPerMicrosecond = 1.2e5;  // of a multiprocessor, float32
constexpr double kStreamedBytesPerMicrosecond = 2e4;   // of a multiprocessor, from device memory
constexpr double kExchangedBytesPerMicrosecond = 6e4;  // of a multiprocessor, through the second-level cache
constexpr int kMaxClusterSize = 8, kHasClusters = 90;

template <typename T>
int vectors_of(int width) {
  return width <= 1 ? 1 : width <= 2 ? 2 : width <= 4 ? 4 : kMaxVectors<T>;
}

// Completes a plan whose region is chosen, for groups of so many vectors; false where shared memory is too small.
template <typename T>
bool fit_groups(const Chains<T>& chains, int64_t shared_limit, ChainPlan& plan) {
  const int forward_groups = groups_of(chains.forwards.width, plan.vectors_forwards);
  const int backward_groups = groups_of(chains.backwards.width, plan.vectors_backwards);
  const int tiles = plan.strips * plan.columns;
  const auto fits = [&] {
    plan.shared_bytes = Shared<T>(nullptr, plan, forward_groups, backward_groups).bytes;
    return plan.shared_bytes <= shared_limit;
  };
  for (plan.groups_per_pass = std::min(kWarps, forward_groups + backward_groups); plan.groups_per_pass > 0;
       plan.groups_per_pass /= 2) {
    // All tiles on chip,
    plan.backward_strips = plan.strips;
    plan.resident = tiles;
    plan.ring = 0;
    for (plan.most_parts = kWarps; plan.most_parts > 2; plan.most_parts /= 2)
      if (fits()) return true;
    // or some, and the deeper the ring the better.
    plan.resident = 0;
    for (plan.ring = kMaxRing; plan.ring >= 2; --plan.ring)
      for (plan.most_parts = kWarps; plan.most_parts > 0; plan.most_parts /= 2) {
        plan.backward_strips = plan.strips;
        while (!fits() && plan.backward_strips > 1) plan.backward_strips = (plan.backward_strips + 1) / 2;
        if (plan.shared_bytes > shared_limit) continue;
        const int64_t more = (shared_limit - plan.shared_bytes) / (Tile<T>::kSize * static_cast<int64_t>(sizeof(T)));
        plan.resident = static_cast<int>(std::min<int64_t>(more, tiles - 1));
        return fits();
      }
  }
  return false;
}

// The same for groups as large as they can be.
template <typename T>
bool fit(const Chains<T>& chains, int64_t shared_limit, ChainPlan& plan) {
  while (!fit_groups(chains, shared_limit, plan)) {
    if (plan.vectors_forwards == 1 && plan.vectors_backwards == 1) return false;
    plan.vectors_forwards = std::max(1, plan.vectors_forwards / 2);
    plan.vectors_backwards = std::max(1, plan.vectors_backwards / 2);
  }
  return true;
}

template <typename T>
double time_of_hop(const Chains<T>& chains, const ChainPlan& plan) {
  const double tile = kRows * Tile<T>::kColumns, tiles = plan.strips * plan.columns;
  const double forwards = chains.forwards.width, backwards = chains.backwards.width;
  const int groups = groups_of(chains.forwards.width, plan.vectors_forwards) +
                     groups_of(chains.backwards.width, plan.vectors_backwards);
  const double passes = static_cast<double>(ceil_div(groups, plan.groups_per_pass));
  const double compute = tiles * tile * (forwards + backwards) / kMultiplyAddsPerMicrosecond * (sizeof(T) / 4.0);
  const double stream = passes * (tiles - plan.resident) * tile * sizeof(T) / kStreamedBytesPerMicrosecond;
  const double gathered = chains.n * (forwards + backwards);
  const double written = forwards * plan.strips * kRows + backwards * plan.columns * Tile<T>::kColumns;
  const double barrier = plan.barrier == ChainPlan::Barrier::kGrid      ? kGridBarrier
                         : plan.barrier == ChainPlan::Barrier::kCluster ? kClusterBarrier
                                                                        : kBlockBarrier;
  // Few copies under way, or few warps at work, cost something too.
  const bool cramped = (plan.ring && plan.ring < kMaxRing) || plan.most_parts < kWarps;
  return std::max(compute, stream) * (cramped ? 1.2 : 1.0) +
         (gathered + written) * sizeof(T) / kExchangedBytesPerMicrosecond + barrier;
}

// The best layout of one graph on at most `blocks` blocks.
template <typename T>
bool divide(const Chains<T>& chains, int64_t shared_limit, int blocks, ChainPlan::Barrier barrier, ChainPlan& best) {
  const int64_t rows = ceil_div(chains.n, kRows), columns = ceil_div(chains.n, Tile<T>::kColumns);
  double best_time = 0;
  bool found = false;
  int strips_before = 0;
  for (int64_t wish = 1; wish <= std::min<int64_t>(blocks, rows); ++wish) {
    ChainPlan plan = best;
    plan.barrier = barrier;
    plan.strips = static_cast<int>(ceil_div(rows, wish));
    if (plan.strips == strips_before) continue;
    strips_before = plan.strips;
    plan.block_rows = static_cast<int>(ceil_div(rows, plan.strips));
    plan.columns = static_cast<int>(ceil_div(columns, std::max(1, blocks / plan.block_rows)));
    plan.block_columns = static_cast<int>(ceil_div(columns, plan.columns));
    const int used = plan.block_rows * plan.block_columns;
    if (barrier == ChainPlan::Barrier::kCluster && (used < 2 || (used & (used - 1)))) continue;
    if (!fit(chains, shared_limit, plan)) continue;
    const double time = time_of_hop(chains, plan);
    if (found && time >= best_time) continue;
    best = plan;
    best_time = time;
    found = true;
  }
  return found;
}

template <typename T>
ChainPlan make_plan(const Chains<T>& chains) {
  const DeviceProperties& device = device_properties();
  const int64_t limit = device.shared_per_block;
  ChainPlan plan = {};
  plan.vectors_forwards = vectors_of<T>(chains.forwards.width);
  plan.vectors_backwards = vectors_of<T>(chains.backwards.width);
  plan.padded_n = static_cast<int>(ceil_div(chains.n, Vector<T>::kSize) * Vector<T>::kSize);
  ChainPlan best;
  double best_time = 0;
  bool found = false;
  const auto consider = [&](int blocks, ChainPlan::Barrier barrier) {
    ChainPlan candidate = plan;
    if (!divide(chains, limit, blocks, barrier, candidate)) return;
    int64_t room = std::max(1, device.multiprocessors / (candidate.block_rows * candidate.block_columns));
    if (barrier == ChainPlan::Barrier::kCluster) {  // whose blocks share a part of the device
      candidate.groups = 1;
      room = resident_clusters<T>(candidate);
      if (room == 0) return;
    }
    const int64_t at_once = std::min<int64_t>(chains.graphs, room);
    // Blocks that need not run all at once: some more of them even out.
    const int64_t groups = barrier == ChainPlan::Barrier::kGrid ? at_once : 2 * at_once;
    candidate.groups = static_cast<int>(std::min<int64_t>(chains.graphs, groups));
    const double time = static_cast<double>(ceil_div(chains.graphs, at_once)) * time_of_hop(chains, candidate);
    if (found && time >= best_time) return;
    best = candidate;
    best_time = time;
    found = true;
  };
  consider(1, ChainPlan::Barrier::kBlock);
  if (kernel_architecture<T>() >= kHasClusters)
    for (int blocks = 2; blocks <= kMaxClusterSize; blocks *= 2) consider(blocks, ChainPlan::Barrier::kCluster);
  consider(device.multiprocessors / std::min(chains.graphs, device.multiprocessors), ChainPlan::Barrier::kGrid);
  consider(device.multiprocessors, ChainPlan::Barrier::kGrid);
  if (!found) throw std::runtime_error("rrnn_ext: too little shared memory on this CUDA device");
  return best;
}

}  // namespace

template <typename T>
ChainPlan plan_chains(const Chains<T>& chains) {
  // Making one takes longer than a launch; a network asks for the same one at every step.
  using Key = std::array<int, 5>;
  static thread_local std::map<Key, ChainPlan> made;
  constexpr size_t kMost = 1024;
  const Key key{device_properties().device, chains.graphs, chains.n, chains.forwards.width, chains.backwards.width};
  const auto found = made.find(key);
  if (found != made.end()) return found->second;
  if (made.size() == kMost) made.clear();
  return made[key] = make_plan(chains);
}

template ChainPlan plan_chains(const Chains<float>&);
template ChainPlan plan_chains(const Chains<double>&);

}  // namespace rrnn::cuda
