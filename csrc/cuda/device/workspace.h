// Working memory of a launch.
#pragma once

#include <cstdint>

#include "common/tensors.h"

namespace rrnn::cuda {

// PyTorch's allocator keeps it for this stream when it is released.
class Workspace {
 public:
  Workspace(const Tensor& like, int64_t bytes) : memory_(empty_of(like, {elements(like, bytes)})) {}

  template <typename T>
  static Workspace of(const Tensor& like, int64_t count) {
    return Workspace(like, count * static_cast<int64_t>(sizeof(T)));
  }

  void* get() const { return memory_.numel() ? memory_.mutable_data_ptr() : nullptr; }
  template <typename T>
  T* get() const {
    return static_cast<T*>(get());
  }

 private:
  static int64_t elements(const Tensor& like, int64_t bytes) {
    const int64_t size = like.scalar_type() == ScalarType::Double ? sizeof(double) : sizeof(float);
    return (bytes + size - 1) / size;
  }
  Tensor memory_;
};

}  // namespace rrnn::cuda
