// Several threads on one problem, with a barrier between its steps.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>

#include "cpu/algorithms/scratch.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {

// A member works the items [first, last) of `count`. How many members there are is the parallel backend's choice: one
// that got several items stands for as many at the barrier.
class Team {
 public:
  // What all members share.
  struct Meeting {
    alignas(64) std::atomic<int64_t> arrived{0};
    alignas(64) std::atomic<int64_t> phase{0};
    std::atomic<bool> refused{false};
  };

  Team(int64_t first, int64_t last, int64_t count, Meeting& meeting)
      : first_(first), last_(last), count_(count), meeting_(meeting) {}

  // This member's part of `total` rows, in whole multiples of `step`.
  Range share(int64_t total, int64_t step = 1) const {
    const int64_t steps = (total + step - 1) / step;
    const auto bound = [&](int64_t item) { return std::min(total, steps * item / count_ * step); };
    return {bound(first_), bound(last_)};
  }

  bool leads() const { return first_ == 0; }
  int64_t items() const { return count_; }
  Range own_items() const { return {first_, last_}; }

  void wait() {
    if (last_ - first_ == count_) return;
    auto& [arrived, shared_phase, refused] = meeting_;
    const int64_t phase = shared_phase.load(std::memory_order_acquire);
    if (arrived.fetch_add(last_ - first_, std::memory_order_acq_rel) + last_ - first_ == count_) {
      arrived.store(0, std::memory_order_relaxed);
      shared_phase.store(phase + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; shared_phase.load(std::memory_order_acquire) == phase; ++spins) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
      if (spins > 1000) std::this_thread::yield();  // the others may be waiting for this core
    }
  }

  // Waits for all, and tells each of them the same: whether all have agreed, here and before.
  bool agrees(bool own) {
    if (!own) meeting_.refused.store(true, std::memory_order_relaxed);
    wait();
    const bool all = !meeting_.refused.load(std::memory_order_relaxed);
    wait();  // before anybody goes on to refuse something else
    return all;
  }

 private:
  int64_t first_, last_, count_;
  Meeting& meeting_;
};

// part(Range) for pieces of at most `step` of a range, from its end where `reverse`. Passes over the weights take turns
// in direction: what the last one left in the cache is what the next one starts with.
template <typename F>
void sweep(Range range, int64_t step, bool reverse, const F& part) {
  const int64_t pieces = (range.end - range.begin + step - 1) / step;
  for (int64_t i = 0; i < pieces; ++i) {
    const int64_t begin = range.begin + (reverse ? pieces - 1 - i : i) * step;
    part(Range{begin, std::min(begin + step, range.end)});
  }
}

// Below this many flops a second thread costs more than it brings.
inline constexpr double kFlopsPerThread = 3e6;

inline int64_t worthwhile_threads(double flops) {
  const auto threads = static_cast<int64_t>(torch::stable::get_num_threads());
  return std::max<int64_t>(1, std::min(threads, static_cast<int64_t>(flops / kFlopsPerThread)));
}

// Runs body(Team&) on the threads that `flops` of work are worth.
template <typename F>
void run_team(double flops, const F& body) {
  const int64_t count = worthwhile_threads(flops);
  Team::Meeting meeting;
  const auto member = [&](int64_t first, int64_t last) {
    Team team(first, last, count, meeting);
    body(team);
  };
  if (count == 1)
    member(0, 1);
  else
    torch::stable::parallel_for(0, count, 1, member);
}

// Runs body(problem, Team&, T* shared) for a batch: problem by problem with all threads on each, or side by side, one
// thread each, where there are enough of them. `shared` is working memory of one problem.
template <typename T, typename F>
void run_batch(int64_t batch, double flops_each, int64_t scratch_size, const F& body) {
  const int64_t threads = worthwhile_threads(flops_each * static_cast<double>(batch));
  const auto run = [&](int64_t begin, int64_t end, double flops) {
    const Scratch<T> shared = scratch<T>(scratch_size);
    for (int64_t problem = begin; problem < end; ++problem)
      run_team(flops, [&](Team& team) { body(problem, team, shared.get()); });
  };
  if (batch >= threads && threads > 1)
    torch::stable::parallel_for(0, batch, (batch + threads - 1) / threads,
                                [&](int64_t begin, int64_t end) { run(begin, end, 0); });
  else
    run(0, batch, flops_each);
}

}  // namespace rrnn::cpu
