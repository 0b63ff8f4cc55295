// Products of a matrix, or its transpose, with a thin bundle of vectors, straight from row-major memory.
#pragma once

#include "common/edge.h"
#include "cpu/kernels/dense_product.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::cpu::Range;

// A tile of ROWS x COLUMNS sums is kept in registers, each a vector along k: every weight that is loaded
// meets COLUMNS vectors, every element of those meets ROWS rows.
template <typename T, int ROWS, int COLUMNS, bool Rectify, bool Prefetch>
inline void thin_tile(int64_t cols, const T* w, int64_t ldw, const T* x, int64_t ldx, T scale, const T* add,
                      int64_t ldadd, T* y, int64_t ldy) {
  constexpr int V = kLanes<T>;
  Vector<T> sum[COLUMNS][ROWS] = {};
  int64_t k = 0;
  for (; k + V <= cols; k += V) {
    Vector<T> row[ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      row[r] = rectified<Rectify, T>(load(w + r * ldw + k));
      if constexpr (Prefetch) __builtin_prefetch(w + (r + ROWS) * ldw + k, 0, 2);  // the next tile's
    }
#pragma GCC unroll 8
    for (int c = 0; c < COLUMNS; ++c) {
      Vector<T> column = load(x + c * ldx + k);
      hold<T>(column);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) sum[c][r] += row[r] * column;
    }
  }
  if (k < cols) {
    const int rest = static_cast<int>(cols - k);
    for (int r = 0; r < ROWS; ++r) {
      const Vector<T> row = rectified<Rectify, T>(load_first(w + r * ldw + k, rest));
      for (int c = 0; c < COLUMNS; ++c) sum[c][r] += row * load_first(x + c * ldx + k, rest);
    }
  }
  T sums[COLUMNS * ROWS];
  horizontal_sums<T, COLUMNS * ROWS>(&sum[0][0], sums);
  for (int c = 0; c < COLUMNS; ++c)
    for (int r = 0; r < ROWS; ++r) y[c * ldy + r] = scale * sums[c * ROWS + r] + (add ? add[c * ldadd + r] : T(0));
}

template <typename T, int COLUMNS, bool Rectify, bool Prefetch>
inline void thin_panel(Range rows, int64_t cols, const T* w, int64_t ldw, const T* x, int64_t ldx, T scale,
                       const T* add, int64_t ldadd, T* y, int64_t ldy) {
  constexpr int ROWS = kRegisters == 32 ? (COLUMNS == 8 ? 3 : COLUMNS == 4 ? 6 : 8) : (COLUMNS == 4 ? 2 : 4);
  int64_t r = rows.begin;
  for (; r + ROWS <= rows.end; r += ROWS)
    thin_tile<T, ROWS, COLUMNS, Rectify, Prefetch>(cols, w + r * ldw, ldw, x, ldx, scale, add ? add + r : nullptr,
                                                   ldadd, y + r, ldy);
  for (; r < rows.end; ++r)
    thin_tile<T, 1, COLUMNS, Rectify, Prefetch>(cols, w + r * ldw, ldw, x, ldx, scale, add ? add + r : nullptr, ldadd,
                                                y + r, ldy);
}

// Calls panel(std::integral_constant<int, COLUMNS>, c) for panels of 8 (where registers allow), 4, 2 and 1 columns.
template <typename F>
inline void for_panels(int64_t width, F panel) {
  int64_t c = 0;
  if constexpr (kRegisters == 32)
    for (; c + 8 <= width; c += 8) panel(std::integral_constant<int, 8>{}, c);
  for (; c + 4 <= width; c += 4) panel(std::integral_constant<int, 4>{}, c);
  for (; c + 2 <= width; c += 2) panel(std::integral_constant<int, 2>{}, c);
  for (; c < width; ++c) panel(std::integral_constant<int, 1>{}, c);
}

template <typename T, bool Rectify, bool Prefetch>
void product_phi(Range rows, int64_t cols, const T* w, int64_t ldw, const T* x, int64_t ldx, int64_t width, T scale,
                 const T* add, int64_t ldadd, T* y, int64_t ldy) {
  // A panel of eight vectors of one block stays in the first-level cache, a block of rows in the second.
  constexpr int64_t kBlockColumns = 4096 / sizeof(T), kBlockRows = 48;
  for (int64_t k = 0; k == 0 || k < cols; k += kBlockColumns) {
    const int64_t block_cols = cols - k < kBlockColumns ? cols - k : kBlockColumns;
    const T* start = k == 0 ? add : y;
    const int64_t ldstart = k == 0 ? ldadd : ldy;
    for (int64_t r = rows.begin; r < rows.end; r += kBlockRows) {
      const Range block{r, r + kBlockRows < rows.end ? r + kBlockRows : rows.end};
      for_panels(width, [&](auto columns, int64_t c) {
        thin_panel<T, columns(), Rectify, Prefetch>(block, block_cols, w + k, ldw, x + c * ldx + k, ldx, scale,
                                                    start ? start + c * ldstart : nullptr, ldstart, y + c * ldy, ldy);
      });
    }
  }
}

// Whether it helps to ask for the next rows: the processor by itself runs ahead in a row up to the end of a page.
template <typename T>
inline bool wants_prefetch(int64_t ldw, int64_t width) {
  constexpr int64_t kPage = 4096;
  return ldw * static_cast<int64_t>(sizeof(T)) > (width < 4 ? 2 * kPage : kPage);
}

template <typename T>
void product(Range rows, int64_t cols, const T* w, int64_t ldw, const T* x, int64_t ldx, int64_t width, T scale,
             const T* add, int64_t ldadd, T* y, int64_t ldy, bool rectify) {
  const bool prefetch = wants_prefetch<T>(ldw, width);
  const auto run = rectify ? (prefetch ? product_phi<T, true, true> : product_phi<T, true, false>)
                           : (prefetch ? product_phi<T, false, true> : product_phi<T, false, false>);
  run(rows, cols, w, ldw, x, ldx, width, scale, add, ldadd, y, ldy);
}

// A tile of VECTORS x COLUMNS sums, each a vector along k, to which the packed x[r][c] is broadcast. Where the
// tile is Partial, only the first `rest` lanes are inside.
template <typename T, int VECTORS, int COLUMNS, bool Rectify, bool Partial, bool Prefetch>
inline void transposed_tile(int64_t rows, int rest, const T* w, int64_t ldw, const T* x, T scale, const T* add,
                            int64_t ldadd, T* y, int64_t ldy) {
  constexpr int V = kLanes<T>;
  Vector<T> sum[VECTORS][COLUMNS] = {};
  for (int64_t r = 0; r < rows; ++r) {
    Vector<T> row[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) {
      const T* from = w + r * ldw + v * V;
      row[v] = rectified<Rectify, T>(Partial ? load_first(from, rest) : load(from));
      if constexpr (Prefetch) __builtin_prefetch(from + VECTORS * V, 0, 2);  // the next tile's
    }
#pragma GCC unroll 8
    for (int c = 0; c < COLUMNS; ++c) {
      Vector<T> factor = broadcast(x[r * COLUMNS + c]);
      hold<T>(factor);
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) sum[v][c] += row[v] * factor;
    }
  }
  const Vector<T> scales = broadcast(scale);
  for (int c = 0; c < COLUMNS; ++c)
    for (int v = 0; v < VECTORS; ++v) {
      T* to = y + c * ldy + v * V;
      const T* from = add ? add + c * ldadd + v * V : nullptr;
      if constexpr (Partial)
        store_first(to, scales * sum[v][c] + (from ? load_first(from, rest) : Vector<T>{}), rest);
      else
        store(to, scales * sum[v][c] + (from ? load(from) : Vector<T>{}));
    }
}

// x[c][r] of COLUMNS vectors as packed[r][c].
template <typename T, int COLUMNS>
inline void pack_panel(int64_t rows, const T* x, int64_t ldx, T* packed) {
  for (int64_t r = 0; r < rows; ++r)
    for (int c = 0; c < COLUMNS; ++c) packed[r * COLUMNS + c] = x[c * ldx + r];
}

// A few rows times a few vectors, added to sums that stay in the first-level cache: W is read along its rows.
template <typename T, int ROWS, int COLUMNS, bool Rectify, bool Prefetch>
inline void transposed_rows(Range cols, const T* w, int64_t ldw, const T* x, int64_t ldx, T scale, const T* add,
                            int64_t ldadd, T* y, int64_t ldy) {
  constexpr int V = kLanes<T>;
  Vector<T> factor[ROWS][COLUMNS];
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < COLUMNS; ++c) factor[r][c] = broadcast(scale * x[c * ldx + r]);
  const auto part = [&](auto partial, int64_t k, int rest) {
    constexpr bool PARTIAL = partial();
    Vector<T> sum[COLUMNS];
#pragma GCC unroll 8
    for (int c = 0; c < COLUMNS; ++c)
      sum[c] = !add ? Vector<T>{} : PARTIAL ? load_first(add + c * ldadd + k, rest) : load(add + c * ldadd + k);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const T* from = w + r * ldw + k;
      Vector<T> row = rectified<Rectify, T>(PARTIAL ? load_first(from, rest) : load(from));
      hold<T>(row);
      if constexpr (Prefetch) __builtin_prefetch(from + ROWS * ldw, 0, 3);
#pragma GCC unroll 8
      for (int c = 0; c < COLUMNS; ++c) sum[c] += row * factor[r][c];
    }
#pragma GCC unroll 8
    for (int c = 0; c < COLUMNS; ++c)
      PARTIAL ? store_first(y + c * ldy + k, sum[c], rest) : store(y + c * ldy + k, sum[c]);
  };
  int64_t k = cols.begin;
  for (; k + V <= cols.end; k += V) part(std::false_type{}, k, V);
  if (k < cols.end) part(std::true_type{}, k, static_cast<int>(cols.end - k));
}

// As many vectors as leave room in the registers for their factors in a few rows.
inline constexpr int kFewVectors = kRegisters == 32 ? 4 : 2;

template <typename T, bool Rectify, bool Prefetch>
void product_transposed_few(Range cols, int64_t rows, const T* w, int64_t ldw, const T* x, int64_t ldx, int64_t width,
                            T scale, const T* add, int64_t ldadd, T* y, int64_t ldy) {
  constexpr int64_t kBlockColumns = 4096 / sizeof(T);
  for (int64_t k = cols.begin; k < cols.end; k += kBlockColumns) {
    const Range block{k, cols.end - k < kBlockColumns ? cols.end : k + kBlockColumns};
    for_panels(width, [&](auto columns, int64_t c) {
      constexpr int COLUMNS = columns() < kFewVectors ? columns() : kFewVectors;  // never more: width is not
      constexpr int ROWS = COLUMNS == kFewVectors ? 4 : 8;
      const T* start = add ? add + c * ldadd : nullptr;
      int64_t ldstart = ldadd, r = 0;
      const auto run = [&](auto height) {
        transposed_rows<T, height(), COLUMNS, Rectify, Prefetch>(block, w + r * ldw, ldw, x + c * ldx + r, ldx, scale,
                                                                 start, ldstart, y + c * ldy, ldy);
        start = y + c * ldy;
        ldstart = ldy;
        r += height();
      };
      while (r + ROWS <= rows) run(std::integral_constant<int, ROWS>{});
      while (r < rows) run(std::integral_constant<int, 1>{});
    });
  }
}

// Up to eight vectors: straight from W, few rows at a time. Rows lie a page apart for large n, and the first-level TLB
// holds 64 pages.
template <typename T, bool Rectify>
void product_transposed_narrow(Range cols, int64_t rows, const T* w, int64_t ldw, const T* x, int64_t ldx,
                               int64_t width, T scale, const T* add, int64_t ldadd, T* y, int64_t ldy) {
  constexpr int V = kLanes<T>;
  constexpr int64_t kBlockRows = 32;
  T packed[kBlockRows * 8];
  for (int64_t r = 0; r == 0 || r < rows; r += kBlockRows) {
    const int64_t height = rows - r < kBlockRows ? rows - r : kBlockRows;
    const T* start = r == 0 ? add : y;
    const int64_t ldstart = r == 0 ? ldadd : ldy;
    for_panels(width, [&](auto columns, int64_t c) {
      constexpr int COLUMNS = columns();
      constexpr int VECTORS = kRegisters == 32 ? (COLUMNS == 8 ? 3 : COLUMNS == 4 ? 6 : 8) : (COLUMNS == 4 ? 2 : 4);
      pack_panel<T, COLUMNS>(height, x + c * ldx + r, ldx, packed);
      const auto tile = [&](auto vectors, auto partial, int64_t k, int rest) {
        transposed_tile<T, vectors(), COLUMNS, Rectify, partial(), true>(
            height, rest, w + r * ldw + k, ldw, packed, scale, start ? start + c * ldstart + k : nullptr, ldstart,
            y + c * ldy + k, ldy);
      };
      int64_t k = cols.begin;
      for (; k + VECTORS * V <= cols.end; k += VECTORS * V)
        tile(std::integral_constant<int, VECTORS>{}, std::false_type{}, k, V);
      for (; k + V <= cols.end; k += V) tile(std::integral_constant<int, 1>{}, std::false_type{}, k, V);
      if (k < cols.end) tile(std::integral_constant<int, 1>{}, std::true_type{}, k, static_cast<int>(cols.end - k));
    });
  }
}

// More vectors: a stripe of a block of rows is copied together once, then meets all panels from the first-level cache.
template <typename T, bool Rectify>
void product_transposed_wide(Range cols, int64_t rows, const T* w, int64_t ldw, const T* x, int64_t ldx, int64_t width,
                             T scale, const T* add, int64_t ldadd, T* y, int64_t ldy) {
  constexpr int V = kLanes<T>, VECTORS = kRegisters == 32 ? 3 : 2, PANEL = kRegisters == 32 ? 8 : 4;
  constexpr int64_t kStripe = VECTORS * V, kBlockRows = 96, kGroup = 32;
  alignas(kVectorBytes) T stripe[kBlockRows * kStripe];
  T packed[kBlockRows * kGroup];
  for (int64_t g = 0; g < width; g += kGroup) {
    const int64_t group = width - g < kGroup ? width - g : kGroup;
    for (int64_t r = 0; r == 0 || r < rows; r += kBlockRows) {
      const int64_t height = rows - r < kBlockRows ? rows - r : kBlockRows;
      const T* start = r == 0 ? add : y;
      const int64_t ldstart = r == 0 ? ldadd : ldy;
      for (int64_t c = 0; c < group; ++c)
        for (int64_t i = 0; i < height; ++i)
          packed[c / PANEL * PANEL * height + i * PANEL + c % PANEL] = x[(g + c) * ldx + r + i];
      for (int64_t k = cols.begin; k < cols.end; k += kStripe) {
        const int64_t inside = cols.end - k < kStripe ? cols.end - k : kStripe;
        for (int64_t i = 0; i < height; ++i) {
          const T* from = w + (r + i) * ldw + k;
          if (inside == kStripe)
            for (int v = 0; v < VECTORS; ++v) {
              store(stripe + i * kStripe + v * V, rectified<Rectify, T>(load(from + v * V)));
              __builtin_prefetch(from + kStripe + v * V, 0, 2);  // the next stripe's
            }
          else
            for (int64_t j = 0; j < inside; ++j) stripe[i * kStripe + j] = rrnn::phi(from[j], Rectify);
        }
        for (int64_t c = 0; c < group; c += PANEL) {
          const DenseProduct<T> part{.depth = height,
                                     .left = packed + c * height,
                                     .row_stride = 1,
                                     .depth_stride = PANEL,
                                     .right = stripe,
                                     .ldright = kStripe,
                                     .scale = scale,
                                     .add = start ? start + (g + c) * ldstart + k : nullptr,
                                     .ldadd = ldstart,
                                     .out = y + (g + c) * ldy + k,
                                     .ldout = ldy};
          const int64_t panel = group - c < PANEL ? group - c : PANEL;
          if (inside == kStripe)
            product_stripe<T, VECTORS, false>(panel, part, 0, V);
          else
            dense_product<T>(panel, inside, part);
        }
      }
    }
  }
}

// Several vectors, of a W that needs no changes: from where it lies, by as many rows as the caches and the TLB follow.
template <typename T>
void product_transposed_plain(Range cols, int64_t rows, const T* w, int64_t ldw, const T* x, int64_t ldx, int64_t width,
                              T scale, const T* add, int64_t ldadd, T* y, int64_t ldy) {
  const int64_t bytes = rows * ldw * static_cast<int64_t>(sizeof(T));
  const int64_t block = bytes <= rrnn::cpu::kNearBytes && rows > 0 ? rows : 128;
  for (int64_t r = 0; r == 0 || r < rows; r += block) {
    const T* start = r == 0 ? add : y;
    dense_product<T>(width, cols.end - cols.begin,
                     {.depth = rows - r < block ? rows - r : block,
                      .left = x + r,
                      .row_stride = ldx,
                      .depth_stride = 1,
                      .right = w + r * ldw + cols.begin,
                      .ldright = ldw,
                      .scale = scale,
                      .add = start ? start + cols.begin : nullptr,
                      .ldadd = r == 0 ? ldadd : ldy,
                      .out = y + cols.begin,
                      .ldout = ldy});
  }
}

template <typename T, bool Rectify>
auto way_of_product_transposed(int64_t rows, int64_t ldw, int64_t width) {
  constexpr int kPanel = kRegisters == 32 ? 8 : 4;
  constexpr int64_t kNearest = 1 << 15, kPage = 4096, kSize = sizeof(T);
  // Very few vectors wait for the second level of the cache; many repay a copy of rows that lie a page apart.
  if (!Rectify &&
      (rows * ldw * kSize <= kNearest || (width >= 3 && (kRegisters == 32 || width <= 12 || ldw * kSize < kPage))))
    return product_transposed_plain<T>;
  if (width > kPanel) return product_transposed_wide<T, Rectify>;
  if (width > kFewVectors || rows == 0) return product_transposed_narrow<T, Rectify>;
  return wants_prefetch<T>(ldw, width) ? product_transposed_few<T, Rectify, true>
                                       : product_transposed_few<T, Rectify, false>;
}

template <typename T>
void product_transposed(Range cols, int64_t rows, const T* w, int64_t ldw, const T* x, int64_t ldx, int64_t width,
                        T scale, const T* add, int64_t ldadd, T* y, int64_t ldy, bool rectify) {
  const auto way = rectify ? way_of_product_transposed<T, true> : way_of_product_transposed<T, false>;
  way(rows, ldw, width)(cols, rows, w, ldw, x, ldx, width, scale, add, ldadd, y, ldy);
}

}  // namespace RRNN_ISA
