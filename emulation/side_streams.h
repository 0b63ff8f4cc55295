// Streams that a program makes, and events: what is launched on such a stream waits until another stream waits for an
// event that was recorded on it, so that a missing join shows. Streams of PyTorch's run at once. See cuda_runtime.h.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "launch_types.h"
#include "machine.h"

namespace emulation {

struct SideStream {
  std::vector<std::function<cudaError_t()>> waiting;
};
struct Event {
  SideStream* recorded_on = nullptr;
};
inline thread_local std::vector<SideStream*> side_streams;  // they live as long as the process

inline SideStream* side_stream(cudaStream_t stream) {
  const auto found = std::find(side_streams.begin(), side_streams.end(), stream);
  return found == side_streams.end() ? nullptr : *found;
}

inline cudaError_t launch_in_order(const cudaLaunchConfig_t& config, const std::function<void()>& kernel) {
  SideStream* side = side_stream(config.stream);
  if (!side) return launch(config, kernel);
  std::vector<cudaLaunchAttribute> attributes(config.attrs, config.attrs + config.numAttrs);
  side->waiting.push_back([config = cudaLaunchConfig_t(config), kernel, attributes]() mutable {
    config.attrs = attributes.data();
    return launch(config, kernel);
  });
  return cudaSuccess;
}

}  // namespace emulation

using cudaEvent_t = emulation::Event*;
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  emulation::side_streams.push_back(new emulation::SideStream);
  return *stream = emulation::side_streams.back(), cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return *event = new emulation::Event, cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return event->recorded_on = emulation::side_stream(stream), cudaSuccess;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned) {
  if (!event->recorded_on) return cudaSuccess;
  for (const auto& launch : std::exchange(event->recorded_on->waiting, {}))
    if (const cudaError_t error = launch(); error != cudaSuccess) return error;
  return cudaSuccess;
}
