// The device and the stream that PyTorch wants an op to use.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/shim_utils.h>

#include "cuda/device/launch.h"

// PyTorch has this symbol in libtorch_cuda alone; weak, so that the library loads beside a CPU-only PyTorch.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index,
                                                                                   void** ret_stream);

// The dispatch key of the ops in this directory.
#ifndef RRNN_CUDA_KEY
#define RRNN_CUDA_KEY CUDA
#endif

namespace rrnn::cuda {

// Makes a tensor's device the current one as long as it lives. Where kernels are emulated, there is one device.
class CurrentDevice {
 public:
  explicit CurrentDevice([[maybe_unused]] const torch::stable::Tensor& tensor) {
#ifdef RRNN_EMULATE
    stream_ = emulation::current_stream;
#else
    STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream, "this PyTorch has no CUDA streams");
    check_cuda(cudaGetDevice(&before_), "cudaGetDevice");
    const int wanted = tensor.get_device_index();
    void* stream;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(wanted, &stream));
    stream_ = static_cast<cudaStream_t>(stream);
    if (wanted == before_) {
      before_ = kUnchanged;
      return;
    }
    check_cuda(cudaSetDevice(wanted), "cudaSetDevice");
#endif
  }
  ~CurrentDevice() {
    if (before_ != kUnchanged) cudaSetDevice(before_);
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

  cudaStream_t stream() const { return stream_; }

 private:
  static constexpr int kUnchanged = -1;
  int before_ = kUnchanged;
  cudaStream_t stream_ = nullptr;
};

}  // namespace rrnn::cuda
