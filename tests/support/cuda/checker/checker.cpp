// Watches every load and store of a kernel compiled with -fsanitize=thread,bounds: the compiler's
// call-outs (__tsan_*, __ubsan_*) are defined here, in place of its libraries.
//
// An access is recorded with its thread and the time; time counts the events that order accesses.
// Two accesses of which one is a write race unless one happens before the other:
// - in a thread, by its order; in a block, by __syncthreads; in a warp, by __syncwarp (a shuffle or
//   a vote orders no memory, on a GPU neither);
// - between blocks, by a release and an acquire of one location, together with the __syncthreads
//   that carry them from and to the other threads: a grid barrier.
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "../emulator/runtime.h"

namespace emulator {

struct Access {
  unsigned block, time, code;  // time 0: there was none
  unsigned short thread;
  bool atomic, under_way;  // under_way: an asynchronous copy that is not there yet
};

struct Cell {
  Access write, reads[2];  // the last write, and reads since
};

struct Unmap {
  size_t bytes;
  void operator()(Cell *cells) const { munmap(cells, bytes); }
};
using Cells = std::unique_ptr<Cell[], Unmap>;

struct Region {  // of memory, with a cell an item
  uintptr_t begin, end;
  size_t item;
  Cell *cells;
  bool shared;
};

// What is known of a block: all it did before one time, and what one thread did up to a later one.
struct Seen {
  unsigned barrier, release;
  unsigned short thread;
};
using View = std::unordered_map<unsigned, Seen>;  // by block

struct Clock {                 // of a block
  unsigned barrier;            // the time of its last barrier
  View known;                  // what all its threads know of other blocks
  std::vector<View> acquired;  // what each knows besides, and all after the next barrier
  std::vector<unsigned> warp;  // [32 a + l]: until when thread a knows lane l of its warp
  std::vector<bool> fenced;    // the threads that executed __threadfence
  Cells cells;                 // of its shared memory, one a byte
};

static unsigned now;
static std::vector<Clock> clocks;
static std::vector<Region> arrays;
static std::vector<Cells> array_cells;
static std::unordered_map<uintptr_t, View> released;  // by the address of an atomic

static Clock &clock_of(const Block &block) { return clocks[block.slot]; }

// Zeros, and memory only where they are touched.
static Cells new_cells(size_t count) {
  const size_t bytes = (count + 1) * sizeof(Cell);
  void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("memory", {}, "cannot map %zu bytes", bytes);
  return Cells(static_cast<Cell *>(memory), {bytes});
}

// ---- what orders accesses

static void merge(View &into, const View &from) {
  for (const auto &[block, seen] : from) {
    Seen &mine = into[block];
    mine.barrier = std::max(mine.barrier, seen.barrier);
    if (seen.release > mine.release) {
      mine.release = seen.release;
      mine.thread = seen.thread;
    }
  }
}

void on_launch(unsigned blocks_alive) {
  now = 0;
  released.clear();
  clocks.clear();
  clocks.resize(blocks_alive);
  arrays.clear();
  array_cells.clear();
  for (uint64_t i = 0; i < launch.buffer_count; ++i) {
    const Buffer &buffer = launch.buffers[i];
    const uintptr_t begin = reinterpret_cast<uintptr_t>(buffer.begin);
    array_cells.push_back(new_cells(buffer.size / buffer.item));
    arrays.push_back({begin, begin + buffer.size, buffer.item, array_cells.back().get(), false});
  }
}

void on_block_start(const Block &block) {
  Clock &clock = clock_of(block);
  clock = {++now, {}, {}, {}, {}, new_cells(shared_extent())};
  clock.acquired.resize(threads_per_block);
  clock.warp.resize(threads_per_block * 32);
  clock.fenced.resize(threads_per_block);
}

void on_barrier(const Block &block) {
  Clock &clock = clock_of(block);
  clock.barrier = ++now;
  for (View &view : clock.acquired) {
    merge(clock.known, view);
    view.clear();
  }
}

void on_syncwarp(const Thread *warp, unsigned mask) {
  unsigned *rows = &clock_of(*warp->block).warp[warp->id * 32], joined[32] = {};
  ++now;
  for (int lane = 0; lane < 32; ++lane)
    for (int k = 0; mask >> lane & 1 && k < 32; ++k)
      joined[k] = mask >> k & 1 ? now : std::max(joined[k], rows[lane * 32 + k]);
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) memcpy(rows + lane * 32, joined, sizeof joined);
}

void fence() { clock_of(*current->block).fenced[current->id] = true; }

static void acquire(uintptr_t address) {
  merge(clock_of(*current->block).acquired[current->id], released[address]);
}

static void release(uintptr_t address) {
  const Clock &clock = clock_of(*current->block);
  View &view = released[address];
  merge(view, clock.known);
  merge(view, clock.acquired[current->id]);
  const unsigned short thread = current->id;
  merge(view, {{current->block->id, {clock.barrier, now++, thread}}});
}

static bool is_in(const View &view, const Access &past) {
  if (view.empty()) return false;
  const auto found = view.find(past.block);
  if (found == view.end()) return false;
  const Seen &seen = found->second;
  return past.time < seen.barrier || (past.thread == seen.thread && past.time <= seen.release);
}

// Is it ordered before what the current thread does now?
static bool happened_before(const Access &past) {
  const Clock &clock = clock_of(*current->block);
  const unsigned me = current->id;
  if (past.block != current->block->id)
    return is_in(clock.known, past) || is_in(clock.acquired[me], past);
  if (past.thread == me || past.time < clock.barrier) return true;
  return past.thread / 32 == me / 32 && past.time < clock.warp[me * 32 + past.thread % 32];
}

// ---- one access

enum Kind { reads, writes };
enum Flags { plain = 0, atomic = 1, any_alignment = 2, begins_copy = 4, ends_copy = 8 };
static const char *const deeds[] = {"reads", "writes"};

static int distance(const Access &a, const Access &b) {
  return a.block != b.block ? 2 : a.thread / 32 != b.thread / 32;
}

// Of reads in order the last is enough: what follows it follows the others. Of more than two that
// are in no order, two that are far from each other stay.
static void record_read(Cell &cell, const Access &mine) {
  for (Access &past : cell.reads)
    if (!past.time || happened_before(past)) {
      past = mine;
      return;
    }
  if (distance(mine, cell.reads[0]) > distance(cell.reads[1], cell.reads[0])) cell.reads[1] = mine;
}

static void check_order(const Access &past, Kind past_kind, const Access &mine, Kind kind) {
  if (!past.time || (past.atomic && mine.atomic) || happened_before(past)) return;
  error.other_code = past.code;
  fail(past.block == mine.block ? "race" : "race between blocks", {},
       "%s what thread %u of block %u %s, in no order with it,", deeds[kind], past.thread,
       past.block, past_kind == writes ? "wrote" : "read");
}

static void check_cell(Cell &cell, Kind kind, const Access &mine, bool ends_copy) {
  if (cell.write.under_way && !ends_copy) {
    error.other_code = cell.write.code;
    fail("race", {}, "%s what an asynchronous copy of thread %u has not brought yet,", deeds[kind],
         cell.write.thread);
  }
  check_order(cell.write, writes, mine, kind);
  if (kind == reads) return record_read(cell, mine);
  for (const Access &past : cell.reads) check_order(past, reads, mine, kind);
  cell = {mine, {}};
}

// A shared array of the block or an array of the launch: the last that begins at or before address.
static Region region_of(uintptr_t address) {
  const uintptr_t shared = reinterpret_cast<uintptr_t>(current->block->shared);
  Region found = {};
  if (address - shared < shared_extent()) {
    Cell *cells = clock_of(*current->block).cells.get();
    found = {shared, shared + launch.shared_bytes, 1, cells, true};
    for (const SharedArray &array : static_arrays) {
      const size_t at = static_shared_begin() + array.offset;
      if (shared + at <= address)
        found = {shared + at, shared + at + array.size, 1, cells + at, true};
    }
    return found;
  }
  for (const Region &array : arrays)
    if (array.begin <= address) found = array;
  return found;
}

static void check(const volatile void *pointer, size_t size, Kind kind, const void *code,
                  int flags = plain) {
  if (!current) return;  // the library is being loaded
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  error.code = code_offset(code);
  if (!(flags & any_alignment) && address % size)
    fail("misaligned", {}, "%s %zu bytes at %p", deeds[kind], size, pointer);
  // The thread's own variables, and the module's.
  if (address - reinterpret_cast<uintptr_t>(stack_of(*current)) < stack_size) return;
  if (is_in_library(address)) return;
  const Region region = region_of(address);
  if (address + size > region.end)
    fail("out of bounds", {}, "%s %zu bytes outside %s", deeds[kind], size,
         region.shared ? "its block's shared arrays" : "the arrays of the launch");
  const Access mine = {current->block->id, now, static_cast<unsigned>(error.code),
                       static_cast<unsigned short>(current->id), (flags & atomic) != 0,
                       (flags & begins_copy) != 0};
  const size_t first = (address - region.begin) / region.item;
  const size_t last = (address + size - 1 - region.begin) / region.item;
  for (size_t i = first; i <= last; ++i) {
    if (region.shared && kind == reads && !region.cells[i].write.time)
      fail("uninitialised", {}, "reads shared memory that nobody has written");
    check_cell(region.cells[i], kind, mine, (flags & ends_copy) != 0);
  }
}

void touch_vector(const void *address, size_t size, bool is_write) {
  check(address, size, is_write ? writes : reads, __builtin_return_address(0));
}

// To the others a copy is a write from its beginning to its end.
void on_copy_begun(const Copy &copy) {
  if (copy.given) check(copy.from, copy.given, reads, copy.code, any_alignment);
  check(copy.to, copy.size, writes, copy.code, begins_copy);
}

void on_copy_done(const Copy &copy) { check(copy.to, copy.size, writes, copy.code, ends_copy); }

static void check_atomic(volatile void *address, size_t size, Kind kind, int order, void *code) {
  check(address, size, kind, code, atomic);
  const bool fenced = clock_of(*current->block).fenced[current->id];
  const uintptr_t location = reinterpret_cast<uintptr_t>(address);
  const bool acquires = order != __ATOMIC_RELAXED && order != __ATOMIC_RELEASE;
  if (fenced || acquires) acquire(location);
  if (kind == writes && (fenced || order >= __ATOMIC_RELEASE)) release(location);
}

}  // namespace emulator

// ---- the compiler's call-outs

using namespace emulator;
#define HERE __builtin_return_address(0)
#define CALL_OUT extern "C" void

CALL_OUT __tsan_init() {}
CALL_OUT __tsan_func_entry(void *) {}
CALL_OUT __tsan_func_exit() {}
#define ACCESSES(size)                                                                          \
  CALL_OUT __tsan_read##size(void *p) { check(p, size, reads, HERE); }                          \
  CALL_OUT __tsan_write##size(void *p) { check(p, size, writes, HERE); }                        \
  CALL_OUT __tsan_unaligned_read##size(void *p) { check(p, size, reads, HERE, any_alignment); } \
  CALL_OUT __tsan_unaligned_write##size(void *p) { check(p, size, writes, HERE, any_alignment); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
CALL_OUT __tsan_read_range(void *p, size_t size) { check(p, size, reads, HERE, any_alignment); }
CALL_OUT __tsan_write_range(void *p, size_t size) { check(p, size, writes, HERE, any_alignment); }

#define ATOMICS(bits, T)                                                                     \
  extern "C" T __tsan_atomic##bits##_load(volatile T *p, int order) {                        \
    check_atomic(p, sizeof(T), reads, order, HERE);                                          \
    return *p;                                                                               \
  }                                                                                          \
  CALL_OUT __tsan_atomic##bits##_store(volatile T *p, T value, int order) {                  \
    check_atomic(p, sizeof(T), writes, order, HERE);                                         \
    *p = value;                                                                              \
  }                                                                                          \
  extern "C" T __tsan_atomic##bits##_exchange(volatile T *p, T value, int order) {           \
    check_atomic(p, sizeof(T), writes, order, HERE);                                         \
    return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);                                  \
  }                                                                                          \
  extern "C" T __tsan_atomic##bits##_fetch_add(volatile T *p, T value, int order) {          \
    check_atomic(p, sizeof(T), writes, order, HERE);                                         \
    return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);                                   \
  }                                                                                          \
  extern "C" bool __tsan_atomic##bits##_compare_exchange_strong(volatile T *p, T *expected,  \
                                                                T value, int order, int) {   \
    check_atomic(p, sizeof(T), writes, order, HERE);                                         \
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST,          \
                                       __ATOMIC_SEQ_CST);                                    \
  }
ATOMICS(32, unsigned)
ATOMICS(64, unsigned long long)

// An index outside an array whose size the compiler knows, a thread's own arrays among them.
CALL_OUT __ubsan_handle_out_of_bounds(void *, uintptr_t index) {
  error.code = code_offset(HERE);
  fail("out of bounds", {}, "uses index %ld", static_cast<long>(index));
}
