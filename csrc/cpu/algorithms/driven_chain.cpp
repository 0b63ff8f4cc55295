// A hop is one thin product with the stacked weights of all gates, between two passes over the vectors, unit by unit.
#include "cpu/algorithms/driven_chain.h"

#include <algorithm>

#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {
namespace {

// scaled[c][g n + j] = sum over parts p of gains[p][g n + j] x[c][p][j], these units of all vectors.
template <typename T>
void scale_rows(const DrivenChain<T>& problem, int64_t hop, const T* x, Range units, T* scaled) {
  const int64_t n = problem.n;
  for (int64_t c = 0; c < problem.vectors(); ++c)
    for (int64_t p = 0; p < problem.parts; ++p) {
      const T* gains = problem.gains_of(hop, c, p);
      const T* from = x + c * problem.state() + p * n;
      for (int64_t g = 0; g < problem.gates(); ++g) {
        T* to = scaled + c * problem.rows + g * n;
        if (p == 0)
          for (int64_t j = units.begin; j < units.end; ++j) to[j] = gains[g * n + j] * from[j];
        else
          for (int64_t j = units.begin; j < units.end; ++j) to[j] += gains[g * n + j] * from[j];
      }
    }
}

// next[c] = alpha carries x[c] (+ enters[c], in the first part): what a hop brings besides the weights.
template <typename T>
void carry(const DrivenChain<T>& problem, int64_t hop, const T* x, const T* enters, Range units, T* next) {
  const int64_t n = problem.n;
  for (int64_t c = 0; c < problem.vectors(); ++c)
    for (int64_t before = 0; before < problem.parts; ++before) {
      T* to = next + c * problem.state() + before * n;
      if (before == 0 && enters)
        std::copy(enters + c * n + units.begin, enters + c * n + units.end, to + units.begin);
      else
        std::fill(to + units.begin, to + units.end, T(0));
      for (int64_t after = 0; problem.carries && after < problem.parts; ++after) {
        const T* carries = problem.carry_of(hop, c, after, before);
        const T* from = x + c * problem.state() + after * n;
        for (int64_t j = units.begin; j < units.end; ++j) to[j] += problem.alpha * (carries[j] * from[j]);
      }
    }
}

// How many hops one product for the gradient of the weights takes.
template <typename T>
int64_t block_hops(const DrivenChain<T>& problem) {
  return std::clamp<int64_t>(256 / std::max<int64_t>(1, problem.vectors()), 1, std::max<int64_t>(1, problem.hops));
}

}  // namespace

template <typename T>
int64_t driven_forward_scratch(const DrivenChain<T>& problem) {
  return problem.vectors() * problem.rows;
}

template <typename T>
void driven_chain_forward(const DrivenChain<T>& problem, const T* entering, int64_t entering_hops, T* chain, Team& team,
                          T* scaled) {
  const int64_t n = problem.n, vectors = problem.vectors(), state = problem.state();
  const Range units = team.share(n, 16);
  const auto& k = kernels<T>(problem.flops());
  for (int64_t c = 0; c < vectors; ++c)
    for (int64_t p = 0; p < problem.parts; ++p) {
      T* to = chain + c * state + p * n;
      if (p == 0)
        std::copy(entering + c * n + units.begin, entering + c * n + units.end, to + units.begin);
      else
        std::fill(to + units.begin, to + units.end, T(0));
    }
  for (int64_t hop = 0; hop < problem.hops; ++hop) {
    const T* x = chain + hop * problem.link();
    T* next = chain + (hop + 1) * problem.link();
    const T* enters = entering_hops > 1 ? entering + (hop + 1) * vectors * n : nullptr;
    scale_rows(problem, hop, x, units, scaled);
    carry(problem, hop, x, enters, units, next);
    team.wait();
    k.product_transposed(units, problem.rows, problem.weight_hh, n, scaled, problem.rows, vectors, problem.alpha, next,
                         state, next, state, false);
    team.wait();  // the product above reads what the next pass over the vectors writes
  }
}

template <typename T>
int64_t driven_backward_scratch(const DrivenChain<T>& problem) {
  return problem.vectors() * problem.rows * (1 + block_hops(problem));
}

template <typename T>
void driven_chain_backward(const DrivenChain<T>& problem, const T* grad_chain, const T* chain, T* grad_hh,
                           T* grad_gains, T* grad_carries, T* grad_links, Team& team, T* shared) {
  const int64_t n = problem.n, vectors = problem.vectors(), state = problem.state(), link = problem.link();
  const int64_t rows = problem.rows, parts = problem.parts, hops = problem.hops, block = block_hops(problem);
  const Range units = team.share(n, 16), own_rows = team.share(rows, 16);
  const auto& k = kernels<T>(problem.flops());
  T* brought = shared;                  // (vectors, rows): what the rows of the weights bring to what comes after
  T* scaled = shared + vectors * rows;  // (block, vectors, rows)
  const auto copy_link = [&](const T* from, T* to) {
    for (int64_t v = 0; v < vectors * parts; ++v)
      std::copy(from + v * n + units.begin, from + v * n + units.end, to + v * n + units.begin);
  };
  copy_link(grad_chain + hops * link, grad_links + hops * link);
  if (hops == 0) std::fill(grad_hh + own_rows.begin * n, grad_hh + own_rows.end * n, T(0));
  team.wait();
  for (int64_t hop = hops; hop-- > 0;) {
    const T* x = chain + hop * link;
    const T* after = grad_links + (hop + 1) * link;
    T* here = grad_links + hop * link;
    k.product(own_rows, n, problem.weight_hh, n, after, state, vectors, T(1), nullptr, 0, brought, rows, false);
    scale_rows(problem, hop, x, units, scaled + hop % block * vectors * rows);
    team.wait();
    copy_link(grad_chain + hop * link, here);
    for (int64_t c = 0; c < vectors; ++c) {
      const int64_t group = hop * problem.count + c / problem.width;
      const bool first = c % problem.width == 0;
      for (int64_t p = 0; p < parts; ++p) {
        const T* gains = problem.gains_of(hop, c, p);
        const T* own = x + c * state + p * n;
        T* to = here + c * state + p * n;
        for (int64_t g = 0; g < problem.gates(); ++g) {
          const T* from = brought + c * rows + g * n;
          for (int64_t j = units.begin; j < units.end; ++j) to[j] += problem.alpha * (gains[g * n + j] * from[j]);
          if (grad_gains) {
            T* grad = grad_gains + (group * parts + p) * rows + g * n;
            for (int64_t j = units.begin; j < units.end; ++j)
              grad[j] = (first ? T(0) : grad[j]) + problem.alpha * (own[j] * from[j]);
          }
        }
        for (int64_t before = 0; problem.carries && before < parts; ++before) {
          const T* carries = problem.carry_of(hop, c, p, before);
          const T* from = after + c * state + before * n;
          for (int64_t j = units.begin; j < units.end; ++j) to[j] += problem.alpha * (carries[j] * from[j]);
          if (grad_carries) {
            T* grad = grad_carries + ((group * parts + p) * parts + before) * n;
            for (int64_t j = units.begin; j < units.end; ++j)
              grad[j] = (first ? T(0) : grad[j]) + problem.alpha * (own[j] * from[j]);
          }
        }
      }
    }
    if (hop % block == 0) {
      const int64_t taken = std::min(block, hops - hop);
      const bool accumulate = hop + taken < hops;
      // The vectors of the right side lie `state` apart: one of their parts is read.
      k.outer_product(own_rows, n, taken * vectors, scaled, rows, grad_links + (hop + 1) * link, state, problem.alpha,
                      accumulate, nullptr, grad_hh, n);
    }
    team.wait();
  }
}

#define RRNN_DRIVEN_CHAIN(T)                                                                   \
  template int64_t driven_forward_scratch(const DrivenChain<T>&);                              \
  template int64_t driven_backward_scratch(const DrivenChain<T>&);                             \
  template void driven_chain_forward(const DrivenChain<T>&, const T*, int64_t, T*, Team&, T*); \
  template void driven_chain_backward(const DrivenChain<T>&, const T*, const T*, T*, T*, T*, T*, Team&, T*);
RRNN_DRIVEN_CHAIN(float)
RRNN_DRIVEN_CHAIN(double)

}  // namespace rrnn::cpu
