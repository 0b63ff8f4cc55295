// Work beside other work: a second stream.
#pragma once

#include <cuda_runtime.h>

namespace rrnn::cuda {

// While it lives, what is launched on stream() comes after what was launched on the stream it was made from so far, and
// runs beside what comes on that one. In a graph that captures the one stream, the other's work is captured too.
class Fork {
 public:
  explicit Fork(cudaStream_t from);
  ~Fork();  // joins, where an error kept others from doing so
  Fork(const Fork&) = delete;
  Fork& operator=(const Fork&) = delete;

  cudaStream_t stream() const;
  // What is launched on the stream it was made from comes after all of this.
  void join();

 private:
  cudaStream_t from_;
  bool joined_ = false;
};

}  // namespace rrnn::cuda
