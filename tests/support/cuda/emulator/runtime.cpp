// Runs a grid of CUDA threads as fibers of one OS thread.
#include "runtime.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <utility>

extern "C" {
uint3 emulator_thread_index, emulator_block_index, emulator_block_size, emulator_grid_size;
emulator::Error emulator_error;
}

namespace emulator {

Launch launch;
Thread *current;
unsigned threads_per_block;
Error &error = emulator_error;

enum Schedule { in_order, reversed, random_order, greedy_warp };

static std::vector<Thread> threads;  // of the blocks alive
static std::vector<Block> blocks;
static std::vector<Thread *> yielded;
static size_t unfinished;
static uint64_t random_state;
static Fiber scheduler;
static size_t turn;  // of the blocks
static long long slept;
static sigjmp_buf leave_launch;
static pthread_t launcher;

void fail(const char *kind, Site site, const char *format, ...) {
  size_t used = 0;
  if (current) {
    const uint3 t = current->index, b = current->block->index;
    used = snprintf(error.text, sizeof error.text, "thread (%u,%u,%u) of block (%u,%u,%u) ", t.x,
                    t.y, t.z, b.x, b.y, b.z);
  }
  va_list rest;
  va_start(rest, format);
  vsnprintf(error.text + used, sizeof error.text - used, format, rest);
  va_end(rest);
  error.kind = kind;
  error.site = site;
  siglongjmp(leave_launch, 1);
}

// The checker's definitions take the place of these.
#define WEAK __attribute__((weak))
WEAK void on_launch(unsigned) {}
WEAK void on_block_start(const Block &) {}
WEAK void on_barrier(const Block &) {}
WEAK void on_syncwarp(const Thread *, unsigned) {}
WEAK void on_copy_begun(const Copy &) {}
WEAK void on_copy_done(const Copy &) {}
WEAK void fence() {}
WEAK void touch_vector(const void *address, size_t size, bool) {
  if (reinterpret_cast<uintptr_t>(address) % size) {
    error.code = code_offset(__builtin_return_address(0));
    fail("misaligned", {}, "uses a vector of %zu bytes at %p", size, address);
  }
}

// ---- memory

// 0xff bytes are NaNs: a value that nobody wrote shows.
static void poison(char *memory, size_t size) { memset(memory, 0xff, size); }

// Memory kept for the next launch, and replaced when that needs more.
struct Mapping {
  char *begin = nullptr;
  size_t size = 0;

  bool grow(size_t bytes) {
    if (bytes <= size) return false;
    if (begin) munmap(begin, size);
    void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size = memory == MAP_FAILED ? 0 : bytes;
    begin = size ? static_cast<char *>(memory) : nullptr;
    if (!begin) fail("memory", {}, "cannot map %zu bytes", bytes);
    return true;
  }
};

static Mapping stacks, shared_memory;

constexpr size_t guard_size = 4 << 10, stride = guard_size + stack_size;

static void map_stacks(size_t count) {
  // Each guard page splits a mapping; Linux allows a process 65,530, and every loaded kernel library
  // keeps its stacks. So the first threads alone are guarded: all run the same code.
  if (!stacks.grow(count * stride)) return;
  for (size_t i = 0; i < count && i < 8; ++i)
    mprotect(stacks.begin + i * stride, guard_size, PROT_NONE);
}

char *stack_of(const Thread &thread) {
  return stacks.begin + (&thread - threads.data()) * stride + guard_size;
}

// ---- the scheduler

static uint64_t random_number() {  // xorshift64*
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (random_state * 2685821657736338717ull) >> 33;
}

// Pushed in the order in which take() is to hand them out.
static void make_ready(Thread *first, unsigned count, unsigned mask = ~0u) {
  const bool backwards = launch.schedule == reversed || launch.schedule == greedy_warp;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned k = backwards ? count - 1 - i : i;
    if (!(mask >> (k % 32) & 1)) continue;
    first[k].state = State::ready;
    first[k].block->ready.push_back(&first[k]);
  }
}

static Thread *take(Block &block) {
  std::vector<Thread *> &ready = block.ready;
  if (block.head == ready.size()) return nullptr;
  Thread *thread;
  if (launch.schedule == greedy_warp) {  // lanes that have just met go on first: a warp runs ahead
    thread = ready.back();
    ready.pop_back();
  } else {
    const size_t left = ready.size() - block.head;
    if (launch.schedule == random_order)
      std::swap(ready[block.head], ready[block.head + random_number() % left]);
    thread = ready[block.head++];
  }
  if (block.head == ready.size()) {
    ready.clear();
    block.head = 0;
  }
  return thread;
}

// A block goes on while it has a thread that can; in random order any block may be next.
static Thread *next_thread() {
  turn = (launch.schedule == random_order ? random_number() : turn) % blocks.size();
  for (size_t tried = 0; tried < blocks.size(); ++tried) {
    if (Thread *thread = take(blocks[turn])) return thread;
    turn = (turn + 1) % blocks.size();
  }
  return nullptr;
}

static bool waits_with(const Thread &thread, unsigned mask) {
  return thread.state == State::in_warp && thread.mask == mask;
}

[[noreturn]] static void report_deadlock() {
  if (!yielded.empty()) {
    current = yielded.front();
    fail("deadlock", current->site, "waits for a change that no other thread can make%s",
         launch.cooperative ? "" : " (the launch is not cooperative)");
  }
  current = threads.data();
  while (current->state != State::in_warp) ++current;
  const Thread *missing = current - current->id % 32;
  for (unsigned named = current->mask; !(named & 1) || waits_with(*missing, current->mask);
       named >>= 1)
    ++missing;
  fail("deadlock", current->site, "waits in %s for lane %u, which waits in %s at line %d",
       current->what, missing->id % 32, missing->what, missing->site.line);
}

static void run_until_done() {
  int idle_passes = 0;
  while (unfinished) {
    current = next_thread();
    if (!current) {
      // After so many passes in which all that can run only yield, nothing will change any more.
      if (yielded.empty() || ++idle_passes > 1000) report_deadlock();
      for (Thread *thread : yielded) make_ready(thread, 1);
      yielded.clear();
      continue;
    }
    emulator_thread_index = current->index;
    emulator_block_index = current->block->index;
    switch_fiber(scheduler, current->fiber);
    if (current->state != State::yielded) idle_passes = 0;
    current = nullptr;
  }
}

static void wait(State state, Site site, const char *what) {
  current->state = state;
  current->site = site;
  current->what = what;
}

static void pause() { switch_fiber(current->fiber, scheduler); }

// ---- what threads wait for

static Thread *warp_of(Thread *thread) { return thread - thread->id % 32; }

static unsigned lanes_of(const Thread *warp) {
  const unsigned left = threads_per_block - warp->id;
  return left < 32 ? (1u << left) - 1 : ~0u;
}

void syncthreads(Site site) {
  Block &block = *current->block;
  if (block.done)
    fail("divergent barrier", site, "waits, but %u threads of its block have exited", block.done);
  if (block.at_barrier && block.barrier.line != site.line)
    fail("divergent barrier", site, "waits here, others of its block at line %d",
         block.barrier.line);
  block.barrier = site;
  wait(State::at_barrier, site, "__syncthreads");
  if (++block.at_barrier == threads_per_block) {
    block.at_barrier = 0;
    on_barrier(block);
    make_ready(block.threads, threads_per_block);
  }
  pause();
}

// The lanes named in mask meet. The last to come works out every lane's answer.
static void meet(unsigned mask, unsigned long long value, int source, const char *what, Site site,
                 bool orders_memory = false) {
  Thread &me = *current, *warp = warp_of(current);
  if (!(mask >> (me.id % 32) & 1))
    fail("lane mask", site, "calls %s with a mask, %08x, that leaves it out", what, mask);
  if (mask & ~lanes_of(warp))
    fail("lane mask", site, "names lanes, %08x, that its warp has not got", mask);
  wait(State::in_warp, site, what);
  me.mask = mask;
  me.source = source;
  me.value = value;
  unsigned votes = 0;
  for (int k = 0; k < 32; ++k) {
    if (!(mask >> k & 1)) continue;
    const Thread &lane = warp[k];
    if (lane.state == State::done)
      fail("lane mask", site, "waits in %s for lane %d, which has exited", what, k);
    if (!waits_with(lane, mask)) return pause();
    if (lane.site.line != site.line)
      fail("lane mask", site, "calls %s; lane %d, of the same mask, is in %s at line %d", what, k,
           lane.what, lane.site.line);
    votes |= unsigned(lane.value != 0) << k;
  }
  for (int k = 0; k < 32; ++k) {
    if (!(mask >> k & 1)) continue;
    current = &warp[k];
    if (!(mask >> warp[k].source & 1))
      fail("lane mask", site, "asks lane %d, which the mask %08x leaves out", warp[k].source, mask);
    warp[k].answer = warp[warp[k].source].value;
    warp[k].ballot = votes;
  }
  current = &me;
  if (orders_memory) on_syncwarp(warp, mask);
  make_ready(warp, 32, mask);
  pause();
}

unsigned long long shuffle(unsigned mask, unsigned long long value, int source, const char *name,
                           Site site) {
  meet(mask, value, source, name, site);
  return current->answer;
}

unsigned ballot(unsigned mask, bool value, const char *name, Site site) {
  meet(mask, value, current->id % 32, name, site);
  return current->ballot;
}

void syncwarp(unsigned mask, Site site) {
  meet(mask, 0, current->id % 32, "__syncwarp", site, true);
}

unsigned active_mask() {  // the lanes that have not exited
  const Thread *warp = warp_of(current);
  unsigned mask = lanes_of(warp);
  for (int k = 0; k < 32; ++k)
    if (mask >> k & 1 && warp[k].state == State::done) mask &= ~(1u << k);
  return mask;
}

void yield(unsigned nanoseconds, Site site) {
  slept += nanoseconds;
  wait(State::yielded, site, "__nanosleep");
  yielded.push_back(current);
  pause();
}

long long nanoseconds() { return slept; }

void trap(Site site) { fail("trap", site, "called __trap"); }

// ---- asynchronous copies. They come as late as they may, and leave 0xff bytes until then.

void copy_async(void *to, const void *from, unsigned size, unsigned given, Site site) {
  for (const void *address : {static_cast<const void *>(to), from})
    if (reinterpret_cast<uintptr_t>(address) % size)
      fail("misaligned", site, "copies %u bytes at %p", size, address);
  const Copy copy = {to, from, size, given, __builtin_return_address(0)};
  on_copy_begun(copy);
  poison(static_cast<char *>(to), size);
  current->copies.push_back(copy);
}

void commit_copies() { current->group_ends.push_back(current->copies.size()); }

void wait_for_copies(unsigned left) {
  std::vector<size_t> &ends = current->group_ends;
  if (ends.size() <= left) return;
  const size_t groups = ends.size() - left, done = ends[groups - 1];
  for (size_t i = 0; i < done; ++i) {
    const Copy &copy = current->copies[i];
    memcpy(copy.to, copy.from, copy.given);
    memset(static_cast<char *>(copy.to) + copy.given, 0, copy.size - copy.given);
    on_copy_done(copy);
  }
  current->copies.erase(current->copies.begin(), current->copies.begin() + done);
  ends.erase(ends.begin(), ends.begin() + groups);
  for (size_t &end : ends) end -= done;
}

// ---- tensor cores

// The number in a word, or in the half of one.
static double number_in(Number number, unsigned word, int half) {
  if (number == Number::f16) {
    const unsigned bits = word >> 16 * half & 0xffff, exponent = bits >> 10 & 31;
    const double fraction = bits & 1023, rest = fraction == 0 ? INFINITY : NAN;
    const double size = exponent == 0    ? ldexp(fraction, -24)
                        : exponent == 31 ? rest
                                         : ldexp(1024 + fraction, exponent - 25);
    return bits >> 15 ? -size : size;
  }
  const unsigned bits = number == Number::tf32 ? word & 0xffffe000u : word >> 16 * half << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// How tensor cores round is not specified. These do it as badly as any that have been looked at:
// what is added is cut off at the last bit of the largest, and the sum is cut off to a float.
static float sum_cut_off(const double *terms, int count) {
  double largest = 0, sum = 0;
  for (int i = 0; i < count; ++i) {
    sum += terms[i];
    largest = fmax(largest, fabs(terms[i]));
  }
  if (largest == 0 || !isfinite(sum)) return sum;
  int exponent;
  frexp(largest, &exponent);
  const double unit = ldexp(1, exponent - 24);
  sum = 0;
  for (int i = 0; i < count; ++i) sum += static_cast<long long>(terms[i] / unit);
  sum *= unit;
  const float rounded = sum;
  return isfinite(rounded) && fabs(rounded) > fabs(sum) ? nextafterf(rounded, 0) : rounded;
}

// Lane 4 g + t holds, with e numbers in a word, in word r
//   of A the row g + 8 (r % 2), and of its numbers from 4 e (r / 2) + e t on,
//   of B the column g, and of its numbers from 4 e r + e t on,
// and of the sums (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1): the PTX manual, "Matrix
// Fragments for mma".
void mma(Number number, int k, const unsigned *a, const unsigned *b, float *sums, Site site) {
  const unsigned *words[2] = {a, b};
  const auto mine = reinterpret_cast<unsigned long long>(words);
  const int lane = current->id % 32, g = lane / 4, t = lane % 4;
  meet(~0u, mine, lane, "mma.sync", site);
  const Thread *warp = warp_of(current);
  const auto words_of = [&](int lane, int factor) {
    return reinterpret_cast<const unsigned *const *>(warp[lane].value)[factor];
  };
  const int e = number == Number::tf32 ? 1 : 2;
  float result[4];
  for (int i = 0; i < 4; ++i) {
    const int row = g + i / 2 * 8, column = 2 * t + i % 2;
    double terms[17] = {sums[i]};
    for (int q = 0; q < k; ++q) {
      const int word = q / (4 * e), of_row = q % (4 * e) / e;
      const unsigned *from_a = words_of(row % 8 * 4 + of_row, 0);
      const unsigned *from_b = words_of(column * 4 + of_row, 1);
      terms[1 + q] = number_in(number, from_a[2 * word + row / 8], q % e) *
                     number_in(number, from_b[word], q % e);
    }
    result[i] = sum_cut_off(terms, 1 + k);
  }
  meet(~0u, mine, lane, "mma.sync", site);  // all have read what the others hold
  memcpy(sums, result, sizeof result);
}

static void run_thread() {
  launch.kernel(launch.arguments);
  Block &block = *current->block;
  current->state = State::done;
  --unfinished;
  ++block.done;
  if (block.at_barrier)
    fail("divergent barrier", block.barrier, "has exited; %u threads of its block wait here",
         block.at_barrier);
  const Thread *warp = warp_of(current);
  for (unsigned lanes = lanes_of(warp); lanes; lanes >>= 1, ++warp)
    if (warp->state == State::in_warp && warp->mask >> (current->id % 32) & 1)
      fail("lane mask", warp->site, "has exited; lane %u waits for it in %s", warp->id % 32,
           warp->what);
  pause();
}

// ---- shared memory of a block: the dynamic part, a gap, the static arrays with gaps between them

constexpr size_t shared_gap = 128, static_shared_room = 512 << 10;
static size_t static_shared_used;
std::vector<SharedArray> static_arrays;

static size_t round_up(size_t size) { return (size + shared_gap - 1) / shared_gap * shared_gap; }

size_t static_shared_begin() { return round_up(launch.shared_bytes) + shared_gap; }
size_t shared_extent() { return static_shared_begin() + static_shared_room; }
void *dynamic_shared() { return current->block->shared; }

void *static_shared(size_t offset) {
  return current->block->shared + static_shared_begin() + offset;
}

size_t reserve_shared(size_t size) {
  const size_t offset = static_shared_used;
  static_shared_used += round_up(size) + shared_gap;
  if (static_shared_used > static_shared_room) fail("memory", {}, "static shared memory is full");
  static_arrays.push_back({offset, size});
  for (Block &block : blocks) poison(block.shared + static_shared_begin() + offset, size);
  return offset;
}

// ---- a launch

static uint3 coordinates(unsigned i, dim3 size) {
  return {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

static void start(Block &block, unsigned id) {
  block.id = id;
  block.index = coordinates(id, launch.grid);
  block.at_barrier = block.done = 0;
  poison(block.shared, launch.shared_bytes);
  poison(block.shared + static_shared_begin(), static_shared_used);
  on_block_start(block);
  for (unsigned i = 0; i < threads_per_block; ++i) {
    Thread &thread = block.threads[i];
    thread.id = i;
    thread.index = coordinates(i, launch.block);
    thread.block = &block;
    thread.copies.clear();
    thread.group_ends.clear();
    start_fiber(thread.fiber, stack_of(thread), stack_size, run_thread);
  }
  make_ready(block.threads, threads_per_block);
  unfinished += threads_per_block;
}

static void run_grid() {
  const unsigned count = launch.grid.x * launch.grid.y * launch.grid.z;
  const unsigned alive = launch.cooperative ? count : 1;
  threads_per_block = launch.block.x * launch.block.y * launch.block.z;
  threads.assign(size_t(alive) * threads_per_block, Thread());
  blocks.assign(alive, Block());
  yielded.clear();
  unfinished = turn = 0;
  slept = 0;
  random_state = launch.seed * 0x9e3779b97f4a7c15ull + 1;
  map_stacks(threads.size());
  shared_memory.grow(alive * shared_extent());
  for (unsigned i = 0; i < alive; ++i) {
    blocks[i].slot = i;
    blocks[i].threads = &threads[size_t(i) * threads_per_block];
    blocks[i].shared = shared_memory.begin + i * shared_extent();
  }
  std::vector<unsigned> order(count);
  for (unsigned i = 0; i < count; ++i) {
    order[i] = launch.schedule == reversed ? count - 1 - i : i;
    if (launch.schedule == random_order) std::swap(order[i], order[random_number() % (i + 1)]);
  }
  on_launch(alive);
  for (unsigned first = 0; first < count; first += alive) {
    for (unsigned i = 0; i < alive; ++i) start(blocks[i], order[first + i]);
    run_until_done();
  }
}

// A wild pointer, an overflowing stack or an endless loop becomes an error of the launch.
static void on_signal(int number, siginfo_t *info, void *context) {
  const bool is_time = number == SIGVTALRM;
  if (!current || !pthread_equal(pthread_self(), launcher)) {  // not a kernel's doing
    if (!is_time) signal(number, SIG_DFL);
    return;
  }
  const mcontext_t &machine = static_cast<ucontext_t *>(context)->uc_mcontext;
#ifdef __x86_64__
  const uintptr_t at = machine.gregs[REG_RIP];
#else
  const uintptr_t at = machine.pc;
#endif
  if (is_time && !is_in_library(at)) return;  // in malloc, say; the timer will ring again
  error.code = is_in_library(at) ? code_offset(reinterpret_cast<void *>(at + 1)) : 0;
  if (is_time) fail("time limit", {}, "still runs after %d s", launch.time_limit);
  const uintptr_t past = reinterpret_cast<uintptr_t>(stack_of(*current)) -
                         reinterpret_cast<uintptr_t>(info->si_addr);
  fail("crash", {}, "%s", past - 1 < guard_size ? "overflowed its stack" : strsignal(number));
}

struct Signals {  // for as long as it lives
  static constexpr int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGVTALRM};
  struct sigaction old[4];
  stack_t old_stack;
  char stack[64 << 10];

  Signals() {
    const stack_t own = {stack, 0, sizeof stack};
    sigaltstack(&own, &old_stack);
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int i = 0; i < 4; ++i) sigaction(numbers[i], &action, &old[i]);
    set_timer(launch.time_limit);
  }
  ~Signals() {
    set_timer(0);
    for (int i = 0; i < 4; ++i) sigaction(numbers[i], &old[i], nullptr);
    sigaltstack(&old_stack, nullptr);
  }
  static void set_timer(int seconds) {
    const itimerval timer = {{0, seconds ? 10000 : 0}, {seconds, 0}};
    setitimer(ITIMER_VIRTUAL, &timer, nullptr);
  }
};

// The processor has one switch for float and double, so -ftz=true is for kernels that return float:
// there a subnormal double vanishes anyway.
static unsigned swap_flush_mode(unsigned mode) {
#ifdef __x86_64__
  const unsigned old = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(mode);
  return old;
#else
  return mode;
#endif
}

}  // namespace emulator

// 0, or 1 with emulator_error filled in.
extern "C" int emulator_launch(const emulator::Launch *launch) {
  using namespace emulator;
  emulator::launch = *launch;
  emulator_error = Error();
  emulator_block_size = launch->block;
  emulator_grid_size = launch->grid;
  launcher = pthread_self();
  const Signals signals;
  const unsigned mode = swap_flush_mode(launch->flush_denormals ? 0x9fc0 : 0x1f80);
  const int failed = sigsetjmp(leave_launch, 1);
  if (!failed) run_grid();
  current = nullptr;
  swap_flush_mode(mode);
  return failed;
}
