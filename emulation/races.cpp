#include "races.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <unordered_map>
#include <vector>

#include "machine.h"

namespace emulation {
namespace {

constexpr uint32_t kSeveral = ~0u;

// Who accessed a number, and how often he had waited for others then. Of several threads those who have all of them.
struct Access {
  uint32_t thread, warp, block, cluster;  // counted from 1 through the launch; 0: nobody
  uint32_t warp_barriers, block_barriers, cluster_barriers, grid_barriers;
  uint32_t atomics;  // of the launch
};

struct Cell {
  Access written, read;  // the last time, and since then
};

// Of a block: the atomic operation that published what it did before a fence, and the last one at all.
struct Order {
  uint32_t published = 0, last = 0;
};

constexpr size_t kCellBytes = 4, kCells = 1024;  // of a page
struct Page {
  Cell cells[kCells] = {};
};

std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
uintptr_t recent = 0;
Page* recent_page = nullptr;
std::vector<Order> orders;  // by block
uint32_t atomics = 0;

Cell& cell_of(uintptr_t number) {
  const uintptr_t page = number / kCells;
  if (!recent_page || page != recent) {
    std::unique_ptr<Page>& found = pages[page];
    if (!found) found = std::make_unique<Page>();
    recent = page;
    recent_page = found.get();
  }
  return recent_page->cells[number % kCells];
}

Order& order_of(uint32_t block) {
  if (block >= orders.size()) orders.resize(block + 1);
  return orders[block];
}

Access access_of(const Fiber& fiber) {
  const Block& block = *fiber.block;
  const uint32_t number = block.number, warp = fiber.rank / 32;
  return {static_cast<uint32_t>(number * block.barrier.size + fiber.rank + 1),
          static_cast<uint32_t>(number * block.warps.size() + warp + 1),
          number + 1,
          block.cluster_number + 1,
          fiber.warp_barriers,
          static_cast<uint32_t>(block.barrier.generation),
          static_cast<uint32_t>(block.cluster->generation),
          block.grid ? static_cast<uint32_t>(block.grid->generation) : 0,
          atomics};
}

bool is_published(const Access& before, const Access& now) {
  if (before.block == kSeveral) return false;
  const uint32_t published = order_of(before.block).published;
  return before.atomics < published && published <= order_of(now.block).last;
}

bool is_in_order(const Access& before, const Access& now) {
  return before.thread == 0 || before.thread == now.thread || before.grid_barriers != now.grid_barriers ||
         (before.cluster == now.cluster && before.cluster_barriers != now.cluster_barriers) ||
         (before.block == now.block && before.block_barriers != now.block_barriers) ||
         (before.warp == now.warp && before.warp_barriers != now.warp_barriers) ||
         (before.block != now.block && is_published(before, now));
}

// Both, neither of which waited for the other.
Access together(const Access& one, Access other) {
  const auto join = [](uint32_t first, uint32_t& second) { second = first == second ? second : kSeveral; };
  join(one.thread, other.thread);
  join(one.warp, other.warp);
  join(one.block, other.block);
  join(one.cluster, other.cluster);
  return other;
}

[[noreturn]] void report(const char* what, const Access& before, const Access& now, const void* at, const void* from) {
  Dl_info library = {};
  dladdr(from, &library);
  const Block& block = *current->block;
  const auto offset = static_cast<const unsigned char*>(at) - block.shared;
  const bool is_shared = offset >= 0 && static_cast<size_t>(offset) < block.shared_bytes;
  const auto thread_of = [&](const Access& access) {
    return access.thread == kSeveral ? -1L : (access.thread - 1L) % block.barrier.size;
  };
  const auto block_of = [](const Access& access) { return access.block == kSeveral ? -1L : access.block - 1L; };
  std::fprintf(stderr,
               "emulated kernel: a data race, %s, with no barrier between: thread %ld of block %ld, then thread %ld of "
               "block %ld, at %s memory %p (byte %ld of what the block has), near %p of %s (-1: several)\n",
               what, thread_of(before), block_of(before), thread_of(now), block_of(now),
               is_shared ? "shared" : "device", at, static_cast<long>(is_shared ? offset : -1),
               reinterpret_cast<void*>(static_cast<const char*>(from) - static_cast<const char*>(library.dli_fbase)),
               library.dli_fname ? library.dli_fname : "?");
  fail("a data race");
}

void note(const void* at, size_t bytes, bool writes, const void* from) {
  const auto address = reinterpret_cast<uintptr_t>(at);
  if (address - reinterpret_cast<uintptr_t>(stacks.get()) < room_of_stacks) return;
  const Access now = access_of(*current);
  for (uintptr_t number = address / kCellBytes; number <= (address + bytes - 1) / kCellBytes; ++number) {
    Cell& cell = cell_of(number);
    if (!is_in_order(cell.written, now))
      report(writes ? "two writes" : "a write and a read", cell.written, now, at, from);
    const bool alone = is_in_order(cell.read, now);
    if (writes && !alone) report("a read and a write", cell.read, now, at, from);
    if (writes)
      cell = {now, {}};
    else
      cell.read = alone ? now : together(cell.read, now);
  }
}

}  // namespace

void forget_accesses() {
  pages.clear();
  recent_page = nullptr;
  orders.clear();
  atomics = 0;
}

void forget_accesses(const void* begin, size_t bytes) {
  const auto first = reinterpret_cast<uintptr_t>(begin);
  for (uintptr_t number = first / kCellBytes; number < (first + bytes + kCellBytes - 1) / kCellBytes; ++number)
    if (pages.count(number / kCells)) cell_of(number) = {};
}

void note_access(const void* at, size_t bytes, bool writes) {
  if (looks_for_races) note(at, bytes, writes, __builtin_return_address(0));
}

void note_atomic() {
  if (!looks_for_races) return;
  Order& order = order_of(current->block->number + 1);
  order.last = ++atomics;
  if (current->fenced) order.published = order.last;
  current->fenced = false;
}

}  // namespace emulation

// What the compiler calls. GCC and clang know accesses of 1 to 16 bytes, aligned or not, and of ranges.
namespace {

inline void by_kernel(const void* at, size_t bytes, bool writes, const void* from) {
  using namespace emulation;
  if (looks_for_races && current && !current->unwatched && bytes) note(at, bytes, writes, from);
}

}  // namespace

#define RRNN_ACCESSES(bytes)                                                                                \
  void __tsan_read##bytes(void* at) { by_kernel(at, bytes, false, __builtin_return_address(0)); }           \
  void __tsan_write##bytes(void* at) { by_kernel(at, bytes, true, __builtin_return_address(0)); }           \
  void __tsan_unaligned_read##bytes(void* at) { by_kernel(at, bytes, false, __builtin_return_address(0)); } \
  void __tsan_unaligned_write##bytes(void* at) { by_kernel(at, bytes, true, __builtin_return_address(0)); }

extern "C" {
RRNN_ACCESSES(1)
RRNN_ACCESSES(2)
RRNN_ACCESSES(4)
RRNN_ACCESSES(8)
RRNN_ACCESSES(16)
void __tsan_read_range(void* at, unsigned long bytes) { by_kernel(at, bytes, false, __builtin_return_address(0)); }
void __tsan_write_range(void* at, unsigned long bytes) { by_kernel(at, bytes, true, __builtin_return_address(0)); }
char __tsan_atomic8_load(const volatile char* at, int) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
}
