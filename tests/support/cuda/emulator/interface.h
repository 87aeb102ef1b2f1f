// What a kernel calls in the runtime. Uses no header, so that a kernel sees no name it has not got.
#pragma once

struct uint3 {
  unsigned x, y, z;
};
using dim3 = uint3;

extern "C" {
// The runtime sets these before it resumes a thread. To the kernel they are constants, which also
// keeps the checker's instrumentation away from them.
extern const uint3 threadIdx __asm__("emulator_thread_index");
extern const uint3 blockIdx __asm__("emulator_block_index");
extern const dim3 blockDim __asm__("emulator_block_size");
extern const dim3 gridDim __asm__("emulator_grid_size");
}

namespace emulator {

using size_t = decltype(sizeof 0);

// A place in the source. As a default argument, here() is the caller's place.
struct Site {
  const char *file;
  int line;
  static constexpr Site here(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

void syncthreads(Site);
void syncwarp(unsigned mask, Site);
unsigned long long shuffle(unsigned mask, unsigned long long value, int source, const char *name,
                           Site);
unsigned ballot(unsigned mask, bool value, const char *name, Site);
unsigned active_mask();
void yield(unsigned nanoseconds, Site);
long long nanoseconds();  // the globaltimer: how long threads have slept in this launch, all together
[[noreturn]] void trap(Site);
void fence();

// cp.async: `size` bytes to shared memory, of which the first `given` come from memory and the rest
// are 0. They are there once their group has been waited for, all but the newest `left` groups.
void copy_async(void *to, const void *from, unsigned size, unsigned given,
                Site site = Site::here());
void commit_copies();
void wait_for_copies(unsigned left);

// mma.sync.m16n8k<k>, row.col, sums in float32. The words of a and b hold one TF32 or two of 16 bits.
enum class Number { tf32, f16, bf16 };
void mma(Number, int k, const unsigned *a, const unsigned *b, float *sums,
         Site site = Site::here());

// Called before a vector type is read or written in memory.
void touch_vector(const void *address, size_t size, bool is_write);

// reserve_shared: an offset for one static __shared__ array, the same in every block.
size_t reserve_shared(size_t size);
void *static_shared(size_t offset);
void *dynamic_shared();

}  // namespace emulator
