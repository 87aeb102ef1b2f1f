// A product on the tensor cores, C = A B with the sum over a depth: the tile that linear_tensor.cu
// and train_tensor.cu share.
//
// A block of 256 threads has a tile of 128 x 128 of C, each of its 8 warps 64 x 32 of that, a
// thread 8 x 8. The block goes through the depth in slabs of 32: while one is multiplied, the next
// is on its way to the other of two buffers (cp.async). A is X, as it is stored: its lines, of
// neighbouring features, are the rows of the tile or, with `across`, the depth. B is float32.
//
// The tensor cores multiply numbers of 11 significant bits exactly (TF32), into sums of float32
// whose rounding is not specified: it may be cutting off. So
//   features but float32 go in as they are: they fit into 11 bits;
//   the other factor goes in as two such numbers, its first 11 bits and what is left, off by less
//     than 2^-21 of it (float32 features: both are rounded to 11 bits);
//   no sum on the tensor cores is longer than a slab. Slabs are added by float32's addition.
// With LEAST_TENSOR_DEPTH products and more that is within the bound of a plain float32 sum (linear.py).
//
// Which of the depth is which does not matter to a sum: a thread's four neighbours in memory go in
// as the places that the instruction has for them.
//
// -D X_KIND; REAL is float

constexpr int TILE = 128, SLAB = 32, THREADS_OF_TILE = 256;
constexpr int STEP = 16;  // of a slab: four neighbours for each of the four threads of a quad
constexpr int MINE = 8;   // a thread has MINE x MINE of the tile

// The lines of a slab of A. Those that are rows of the tile are padded to spread over the banks.
template <bool across>
struct Lines {
  static constexpr int count = across ? SLAB : TILE, items = across ? TILE : SLAB;
  static constexpr int units = items * sizeof(Feature) / 16;  // that are copied at once
  static constexpr int stride = across ? units * 16 : units * 24;  // bytes
};

// What lies in shared memory, twice; linear.py reckons with its size.
template <bool across>
struct Slabs {
  char a[Lines<across>::count * Lines<across>::stride];
  float b[SLAB * TILE];
};

// Where a line of the depth has its units of 16 bytes: no two threads of a quad meet in a bank.
__device__ inline int swizzled(int line, int unit) { return unit ^ line / 4 % 4 * 2; }

// ---- which part of the tile a thread has

__device__ inline int quad_of_warp() { return threadIdx.x % 32 / 4; }
__device__ inline int thread_of_quad() { return threadIdx.x % 4; }

// The row of this thread's i-th, i < MINE: across, neighbours in fours, which one load brings.
template <bool across>
__device__ inline int tile_row(int i) {
  const int first = threadIdx.x / 128 * 64;
  if (across) return first + i / 4 * 32 + 4 * quad_of_warp() + i % 4;
  return first + i * 8 + quad_of_warp();
}

__device__ inline int tile_column(int j) {
  return threadIdx.x / 32 % 4 * 32 + j / 2 * 8 + 2 * thread_of_quad() + j % 2;
}

// ---- copies from memory

// `size` bytes, 4 or 16, of which the first `given` come from memory; the others are 0.
template <int size>
__device__ inline void copy_async(void *to, const void *from, int given) {
#ifdef __CUDA_ARCH__
  const unsigned address = (unsigned)__cvta_generic_to_shared(to);
  if (size == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(given) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from),
                 "r"(given) : "memory");
#else
  emulator::copy_async(to, from, size, given);
#endif
}

__device__ inline void commit_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulator::commit_copies();
#endif
}

__device__ inline void wait_for_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.wait_group 0;" ::: "memory");
#else
  emulator::wait_for_copies(0);
#endif
}

// Lines of X are copied 16 bytes at a time where they allow it, else item by item.
__device__ inline bool copies_units(const Feature *X, long long stride) {
  return (unsigned long long)X % 16 == 0 && stride * sizeof(Feature) % 16 == 0;
}

// A: which units of the slab this thread copies.
template <bool across>
struct LineReader {
  using L = Lines<across>;
  static constexpr int copies = L::count * L::units / THREADS_OF_TILE;
  static constexpr int per_unit = 16 / sizeof(Feature);
  const Feature *lines[copies];

  __device__ static int line(int i) { return (threadIdx.x + i * THREADS_OF_TILE) / L::units; }
  __device__ static int unit() { return threadIdx.x % L::units; }

  // a(l): where line l of the slab begins.
  template <class A>
  __device__ void find(A a) {
#pragma unroll
    for (int i = 0; i < copies; ++i) lines[i] = a(line(i));
  }

  // Items from `first` on, of which a line has `left`.
  __device__ void copy(char *slab, long long first, int left, bool by_units) const {
    const int given = max(0, min(left - unit() * per_unit, per_unit));
#pragma unroll
    for (int i = 0; i < copies; ++i) {
      const int at = across ? swizzled(line(i), unit()) : unit();
      char *to = slab + line(i) * L::stride + 16 * at;
      const Feature *from = lines[i] + first + unit() * per_unit;
      if (by_units) {
        copy_async<16>(to, from, given * (int)sizeof(Feature));
      } else {
        for (int k = 0; k < per_unit; ++k)
          reinterpret_cast<Feature *>(to)[k] = k < given ? from[k] : (Feature)0;
      }
    }
  }
};

// B: the four columns that this thread copies, of four lines, and how far its lines lie apart.
struct ColumnReader {
  const float *columns[4];
  long long apart;
  static_assert(SLAB * TILE == 16 * THREADS_OF_TILE);

  __device__ static int line() { return threadIdx.x / 32 * 4; }
  __device__ static int quad() { return threadIdx.x % 32; }

  // b(j): where column j of the tile begins.
  template <class B>
  __device__ void find(B b) {
#pragma unroll
    for (int j = 0; j < 4; ++j) columns[j] = b(4 * quad() + j);
  }

  // The lines from `depth` on, of which there are `left`; the others become 0.
  __device__ void copy(float *slab, long long depth, int left, bool by_units) const {
    float *to = slab + line() * TILE + 4 * swizzled(line(), quad());
    const long long first = (depth + line()) * apart;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool inside = line() + i < left;
      if (by_units) {
        copy_async<16>(to + i * TILE, columns[0] + first + i * apart, inside ? 16 : 0);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          copy_async<4>(to + i * TILE + j, columns[j] + first + i * apart, inside ? 4 : 0);
      }
    }
  }
};

// ---- the instruction

#if X_KIND == 0

// Rounded to TF32.
__device__ inline unsigned to_tf32(float x) {
  const unsigned bits = __float_as_uint(x);
  return x - x == 0 ? bits + 0x1000u : bits;  // the last 13 bits are ignored
}

__device__ inline unsigned a_factor(float x) { return to_tf32(x); }

constexpr int PARTS = 1;

__device__ inline void split(float x, unsigned parts[PARTS]) { parts[0] = to_tf32(x); }

#else

// Exact already: nothing is converted.
__device__ inline unsigned a_factor(float x) { return __float_as_uint(x); }

constexpr int PARTS = 2;

// The first 11 significant bits, and the 13 that are left, of which 11 are read.
__device__ inline void split(float x, unsigned parts[PARTS]) {
  parts[0] = __float_as_uint(x) & 0xffffe000u;
  parts[1] = __float_as_uint(x - __uint_as_float(parts[0]));
}

#endif

// The sums (2, 2) of this thread += its part of A B, 16 x 8 x 8 in a warp. Lane 4 g + t holds of A
// (g, t) (g + 8, t) (g, t + 4) (g + 8, t + 4), of B (t, g) (t + 4, g), of the sums (g, 2 t)
// (g, 2 t + 1) (g + 8, 2 t) (g + 8, 2 t + 1): the PTX manual, mma.m16n8k8.
__device__ inline void multiply_16x8x8(const unsigned a[4], const unsigned b[2], float *upper,
                                       float *lower) {
#ifdef __CUDA_ARCH__
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(upper[0]), "+f"(upper[1]), "+f"(lower[0]), "+f"(lower[1])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  float sums[4] = {upper[0], upper[1], lower[0], lower[1]};
  emulator::mma(emulator::Number::tf32, 8, a, b, sums);
  upper[0] = sums[0], upper[1] = sums[1], lower[0] = sums[2], lower[1] = sums[3];
#endif
}

// ---- a slab

// This thread's factors of A from place k of the slab on: of its i-th row the q-th of four
// neighbours is x[i / 2][2 q + i % 2].
template <bool across>
__device__ inline void load_factors(const char *slab, int k, unsigned x[MINE / 2][8]) {
  constexpr int stride = Lines<across>::stride;
  const int place = k + 4 * thread_of_quad();
  float four[4];
  if (!across) {
#pragma unroll
    for (int i = 0; i < MINE; ++i) {
      const char *line = slab + tile_row<across>(i) * stride;
      load_four_features(reinterpret_cast<const Feature *>(line), place, four);
#pragma unroll
      for (int q = 0; q < 4; ++q) x[i / 2][2 * q + i % 2] = a_factor(four[q]);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < MINE; i += 4) {  // four rows of one place in the depth
    const int at = tile_row<across>(i) * (int)sizeof(Feature);
    const char *line = slab + place * stride + swizzled(place, at / 16) * 16 + at % 16;
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      load_four_features(reinterpret_cast<const Feature *>(line + q * stride), 0, four);
#pragma unroll
      for (int r = 0; r < 4; ++r) x[(i + r) / 2][2 * q + r % 2] = a_factor(four[r]);
    }
  }
}

// The four places from k on that this thread holds of B for its columns j and j + 1, which its quads
// share among them.
__device__ inline void load_column(const float *slab, int k, int j, float w[4]) {
  const int column = threadIdx.x / 32 % 4 * 32 + j * 4 + quad_of_warp();
  const int place = k + 4 * thread_of_quad();
  const float *from = slab + place * TILE + swizzled(place, column / 4) * 4 + column % 4;
#pragma unroll
  for (int q = 0; q < 4; ++q) w[q] = from[q * TILE];
}

// sums += the product of two slabs.
template <bool across>
__device__ inline void multiply_slabs(const Slabs<across> &slabs, float (&sums)[MINE][MINE]) {
  float slab[MINE][MINE] = {};
#pragma unroll
  for (int k = 0; k < SLAB; k += STEP) {
    unsigned x[MINE / 2][8];
    load_factors<across>(slabs.a, k, x);
#pragma unroll
    for (int j = 0; j < MINE; j += 2) {
      float w[4];
      unsigned parts[4][PARTS];
      load_column(slabs.b, k, j, w);
#pragma unroll
      for (int q = 0; q < 4; ++q) split(w[q], parts[q]);
#pragma unroll
      for (int q = 0; q < 4; q += 2)
#pragma unroll
        for (int part = 0; part < PARTS; ++part)
#pragma unroll
          for (int i = 0; i < MINE; i += 2) {
            const unsigned b[2] = {parts[q][part], parts[q + 1][part]};
            multiply_16x8x8(&x[i / 2][2 * q], b, &slab[i][j], &slab[i + 1][j]);
          }
    }
  }
#pragma unroll
  for (int i = 0; i < MINE; ++i)
#pragma unroll
    for (int j = 0; j < MINE; ++j) sums[i][j] += slab[i][j];
}

// ---- the tile

// A column j of a tile that exists: itself, or one of the last four, which goes nowhere.
__device__ inline long long column_there(long long first, int j, long long columns) {
  return first + j < columns ? first + j : columns - 4 + j % 4;
}

// sums += A B over [begin, end) of the depth. a(l): where line l of A begins, of the tile's rows or,
// across, of the depth, and then has `width` features. b(j): where column j of the tile begins in B,
// whose lines are `apart`. by_units: they can be copied 16 bytes at a time. What a and b give for
// rows and columns past the last is copied too, and must be there. After each slab each(slab) is
// called with that of B. `memory` has 2 Slabs.
template <bool across, class A, class B, class Each>
__device__ inline void multiply_tile(float (&sums)[MINE][MINE], char *memory, long long begin,
                                     long long end, A a, long long width, bool a_by_units, B b,
                                     long long apart, bool b_by_units, Each each) {
  Slabs<across> *slabs = reinterpret_cast<Slabs<across> *>(memory);
  LineReader<across> lines;
  ColumnReader columns;
  const int wide = (int)min(width, (long long)TILE);
  columns.apart = apart;
  columns.find(b);
  int next = 0;
  const auto find_lines = [&](long long depth) {
    if (across) lines.find([&](int l) { return a(min(depth + l, end - 1)); });
  };
  const auto copy = [&](long long depth) {
    const int left = (int)min(end - depth, (long long)SLAB);
    lines.copy(slabs[next].a, across ? 0 : depth, across ? wide : left, a_by_units);
    columns.copy(slabs[next].b, depth, left, b_by_units);
    commit_copies();
    next = 1 - next;
    find_lines(depth + SLAB);  // long before they are needed
  };
  if (!across) lines.find(a);
  find_lines(begin);
  copy(begin);
  for (long long depth = begin; depth < end; depth += SLAB) {
    wait_for_copies();
    __syncthreads();  // all of this slab is there, and nobody reads the other buffer any more
    const Slabs<across> &now = slabs[1 - next];
    if (depth + SLAB < end) copy(depth + SLAB);
    multiply_slabs(now, sums);
    each(now.b);
  }
}
