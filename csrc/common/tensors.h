// What the ops do with tensors besides computing.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/shim_utils.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>

namespace rrnn {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline Tensor dense(const Tensor& tensor) {
  return tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor);
}

// Uninitialised, of the same dtype and device. Not new_empty: a call through the dispatcher costs as much as a hop.
inline Tensor empty_of(const Tensor& like, const int64_t* sizes, int64_t dims) {
  int64_t strides[5], stride = 1;
  for (int64_t d = dims; d-- > 0; stride *= std::max<int64_t>(1, sizes[d])) strides[d] = stride;
  int32_t dtype, device_type, device_index;
  AtenTensorHandle handle;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &device_index));
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(dims, sizes, strides, dtype, device_type, device_index, &handle));
  return Tensor(handle);
}

inline Tensor empty_of(const Tensor& like, std::initializer_list<int64_t> sizes) {
  return empty_of(like, sizes.begin(), static_cast<int64_t>(sizes.size()));
}

// body(T{}) for the dtype of a float32 or float64 tensor.
template <typename F>
auto dispatch(const Tensor& tensor, const F& body) {
  return tensor.scalar_type() == ScalarType::Double ? body(double{}) : body(float{});
}

// The `index`-th piece of `size` elements.
template <typename T>
T* at(const Tensor& tensor, int64_t index, int64_t size) {
  return tensor.numel() == 0 ? nullptr : static_cast<T*>(tensor.mutable_data_ptr()) + index * size;
}

}  // namespace rrnn
