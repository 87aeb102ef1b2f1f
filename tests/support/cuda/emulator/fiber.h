// Fibers: a stack each, and a switch between them that costs no system call on x86-64.
#pragma once
#include <stddef.h>

#if defined(__x86_64__) && !defined(EMULATOR_UCONTEXT)

struct Fiber {
  void **stack_pointer;
};

// Saves the registers a call must keep on one stack, and takes them from the other.
__attribute__((naked, noinline)) inline void switch_fiber(Fiber & /* from */, Fiber & /* to */) {
  __asm__(
      "push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
      "mov %rsp, (%rdi)\n mov (%rsi), %rsp\n"
      "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret");
}

// entry never returns.
inline void start_fiber(Fiber &fiber, char *stack, size_t size, void (*entry)()) {
  void **top = reinterpret_cast<void **>(stack + size);
  top[-2] = reinterpret_cast<void *>(entry);  // where the first switch returns to
  fiber.stack_pointer = top - 8;              // below it the six registers
}

#else
#include <ucontext.h>

using Fiber = ucontext_t;

inline void switch_fiber(Fiber &from, Fiber &to) { swapcontext(&from, &to); }

inline void start_fiber(Fiber &fiber, char *stack, size_t size, void (*entry)()) {
  getcontext(&fiber);
  fiber.uc_stack.ss_sp = stack;
  fiber.uc_stack.ss_size = size;
  makecontext(&fiber, entry, 0);
}

#endif
