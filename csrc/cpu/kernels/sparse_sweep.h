// A sweep through a sparse matrix, which uses what it has made of earlier units: one after another, by one thread.
#pragma once

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"
#include "cpu/kernels/sparse_product.h"

namespace RRNN_ISA {

using rrnn::cpu::SparseSweep;
using rrnn::cpu::Sweep;

// Vectors of so many bytes stay in the second-level cache. Beyond, they are asked for so many stored values ahead.
inline constexpr int64_t kStaysNear = 1 << 20, kSweptAhead = 24;

// finish(r, i, z) for each row r and piece i of its vectors.
template <typename T, int COUNT, bool Rectify, typename Finish>
inline void sweep_rows(const SparseSweep<T>& s, const Finish& finish) {
  using Piece = typename UnitOf<T, COUNT>::Piece;
  constexpr int N = UnitOf<T, COUNT>::kPieces, kStep = COUNT / N;
  constexpr int kSums = N > 2 ? 1 : 4 / N;
  const int64_t last = s.crow[s.n] - 1;
  const bool is_far = s.n * 2 * COUNT * static_cast<int64_t>(sizeof(T)) > kStaysNear;
  for (int64_t r = 0; r < s.n; ++r) {
    Piece sum[kSums][N] = {};
    const auto take = [&](int64_t k, int which) {
      const int64_t column = s.columns[k];
      const T* from = s.swept + column * (2 * COUNT) + (column < r ? COUNT : 0);
      const T weight = rrnn::phi(s.values[k], Rectify);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) {
        Piece piece;
        std::memcpy(&piece, from + i * kStep, sizeof piece);
        sum[which][i] += weight * piece;
      }
    };
    const auto ask = [&](int64_t k) {
      const int64_t ahead = k + kSweptAhead < last ? k + kSweptAhead : last;
      __builtin_prefetch(s.swept + static_cast<int64_t>(s.columns[ahead]) * (2 * COUNT));
    };
    int64_t k = s.crow[r];
    const int64_t end = s.crow[r + 1];
    for (; k + kSums <= end; k += kSums) {
#pragma GCC unroll 8
      for (int which = 0; which < kSums; ++which) {
        if (is_far) ask(k + which);
        take(k + which, which);
      }
    }
    for (; k < end; ++k) take(k, 0);
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      Piece total = sum[0][i];
#pragma GCC unroll 8
      for (int which = 1; which < kSums; ++which) total += sum[which][i];
      finish(r, i * kStep, s.scale * total);
    }
  }
}

template <typename Piece, typename T>
inline Piece piece_at(const T* from) {
  Piece piece;
  std::memcpy(&piece, from, sizeof piece);
  return piece;
}

template <typename Piece, typename T>
inline void put(T* to, Piece piece) {
  std::memcpy(to, &piece, sizeof piece);
}

template <typename T, int COUNT, bool Rectify>
void sparse_sweep_of(const SparseSweep<T>& s) {
  using Piece = typename UnitOf<T, COUNT>::Piece;
  const auto old = [&](int64_t r, int at) { return s.swept + r * (2 * COUNT) + at; };
  const auto made = [&](int64_t r, int at) { return s.swept + r * (2 * COUNT) + COUNT + at; };
  const auto x = [&](int64_t r, int at) { return s.x + r * COUNT + at; };
  const auto next = [&](int64_t r, int at) { return s.next + r * (2 * COUNT) + at; };
  switch (s.what) {
    case Sweep::kStart:
      sweep_rows<T, COUNT, Rectify>(s, [&](int64_t r, int at, Piece z) {
        z += piece_at<Piece>(x(r, at));
        put(made(r, at), z);
        put(old(r, at), z);
        put(x(r, at), Piece{});
      });
      break;
    case Sweep::kApply:
      sweep_rows<T, COUNT, Rectify>(s, [&](int64_t r, int at, Piece z) {
        put(made(r, at), z);
        put<Piece>(x(r, at), piece_at<Piece>(old(r, at)) - z);
      });
      break;
    case Sweep::kRoot:
      sweep_rows<T, COUNT, Rectify>(s, [&](int64_t r, int at, Piece z) {
        const Piece o = piece_at<Piece>(old(r, at));
        put(made(r, at), z);
        put<Piece>(x(r, at), piece_at<Piece>(x(r, at)) + s.c * o);
        put<Piece>(old(r, at), o - s.c * (o - z));
      });
      break;
    case Sweep::kFirstOfTwo:
      sweep_rows<T, COUNT, Rectify>(s, [&](int64_t r, int at, Piece z) {
        const Piece o = piece_at<Piece>(old(r, at)), g = o - z;
        put(made(r, at), z);
        put(next(r, at), g);
        put<Piece>(x(r, at), piece_at<Piece>(x(r, at)) + (s.c * o - s.d * g));
        put<Piece>(old(r, at), o - (s.c - s.d) * g);
      });
      break;
    case Sweep::kSecondOfTwo:
      sweep_rows<T, COUNT, Rectify>(s, [&](int64_t r, int at, Piece z) {
        put(made(r, at), z);
        put<Piece>(next(r, at), piece_at<Piece>(next(r, at)) - s.d * z);
      });
      break;
  }
}

template <typename T, int COUNT>
void sparse_sweep_phi(const SparseSweep<T>& s) {
  (s.rectify ? sparse_sweep_of<T, COUNT, true> : sparse_sweep_of<T, COUNT, false>)(s);
}

template <typename T>
void sparse_sweep(const SparseSweep<T>& s) {
  constexpr int kMany = rrnn::cpu::kSweptTogether<T>;
  if (s.width == kMany)
    sparse_sweep_phi<T, kMany>(s);
  else if (s.width == kMany / 2)
    sparse_sweep_phi<T, kMany / 2>(s);
  else
    sparse_sweep_phi<T, 1>(s);
}

}  // namespace RRNN_ISA
