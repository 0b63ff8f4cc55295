#include "cuda/device/fork.h"

#include <map>

#include "cuda/device/launch.h"

namespace rrnn::cuda {
namespace {

// Of a thread, on each device: a thread joins before it forks again.
struct Side {
  cudaStream_t stream = nullptr;
  cudaEvent_t forked = nullptr, joined = nullptr;
};

const Side& side() {
  static thread_local std::map<int, Side> known;
  Side& found = known[device_properties().device];
  if (found.joined) return found;
  check_cuda(cudaStreamCreateWithFlags(&found.stream, cudaStreamNonBlocking), "a second stream");
  check_cuda(cudaEventCreateWithFlags(&found.forked, cudaEventDisableTiming), "an event");
  check_cuda(cudaEventCreateWithFlags(&found.joined, cudaEventDisableTiming), "an event");
  return found;
}

cudaError_t order(cudaStream_t before, cudaEvent_t event, cudaStream_t after) {
  const cudaError_t error = cudaEventRecord(event, before);
  return error == cudaSuccess ? cudaStreamWaitEvent(after, event, 0) : error;
}

}  // namespace

Fork::Fork(cudaStream_t from) : from_(from) { check_cuda(order(from, side().forked, side().stream), "a fork"); }

Fork::~Fork() {
  if (!joined_) order(side().stream, side().joined, from_);
}

cudaStream_t Fork::stream() const { return side().stream; }

void Fork::join() {
  joined_ = true;
  check_cuda(order(side().stream, side().joined, from_), "a join");
}

}  // namespace rrnn::cuda
