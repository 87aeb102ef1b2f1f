// The runtime's state, shared with the checker.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fiber.h"
#include "interface.h"

// Where the library that this is linked into begins and ends.
extern "C" char __ehdr_start __attribute__((visibility("hidden")));
extern "C" char _end __attribute__((visibility("hidden")));

namespace emulator {

inline uint64_t code_offset(const void *address) {
  return static_cast<const char *>(address) - &__ehdr_start;
}
inline bool is_in_library(uintptr_t address) {
  return address - reinterpret_cast<uintptr_t>(&__ehdr_start) < code_offset(&_end);
}

enum class State : uint8_t { ready, yielded, at_barrier, in_warp, done };

struct Block;

struct Copy {  // asynchronous; `code` is the place of the call
  void *to;
  const void *from;
  unsigned size, given;
  const void *code;
};

struct Thread {
  Fiber fiber;
  Block *block;
  unsigned id;  // linear, within the block
  uint3 index;
  State state;
  Site site;         // where it waits, and
  const char *what;  // for what
  // A meeting of lanes: those named, the value given, the lane asked, and what came of it.
  unsigned mask;
  int source;
  unsigned long long value, answer;
  unsigned ballot;
  std::vector<Copy> copies;         // that it has not waited for, and
  std::vector<size_t> group_ends;  // how many of them are in the groups up to each
};

struct Block {
  unsigned id;    // linear, within the grid
  unsigned slot;  // its place among the blocks that are alive
  uint3 index;
  Thread *threads;
  char *shared;
  std::vector<Thread *> ready;  // from head on
  size_t head;
  unsigned at_barrier, done;
  Site barrier;
};

struct Buffer {  // an array of the launch; sizes in bytes
  char *begin;
  uint64_t size, item;
};

struct Launch {  // the same fields in emulator.py
  void (*kernel)(void **);
  void **arguments;
  const Buffer *buffers;
  uint64_t buffer_count, shared_bytes, seed;
  dim3 grid, block;
  int schedule, cooperative, flush_denormals, time_limit;  // in seconds of processor time
};

struct Error {  // the same fields in emulator.py
  const char *kind;
  char text[512];
  Site site;                  // the place, or
  uint64_t code, other_code;  // offsets in the library to be looked up; 0: none
};

struct SharedArray {
  size_t offset, size;
};

constexpr size_t stack_size = 64 << 10;

extern Launch launch;
extern Thread *current;  // null in the scheduler
extern unsigned threads_per_block;
extern Error &error;
extern std::vector<SharedArray> static_arrays;  // offsets from static_shared_begin()

size_t static_shared_begin();
size_t shared_extent();  // bytes between the shared memory of two blocks
char *stack_of(const Thread &);
[[noreturn]] void fail(const char *kind, Site site, const char *format, ...);

// What the checker is told.
void on_launch(unsigned blocks_alive);
void on_block_start(const Block &);
void on_barrier(const Block &);
void on_syncwarp(const Thread *warp, unsigned mask);
void on_copy_begun(const Copy &);
void on_copy_done(const Copy &);

}  // namespace emulator
