// The table of kernels, `Kernels`: one function pointer for each operation of a model that takes time. Each instruction
// set fills one such table, and select.hpp chooses one at run time.
//
// How the folder is built up:
//
//     kernels.hpp                   the table and the arguments of the kernels
//     vec16/ISA.hpp                 16 float lanes for one instruction set; scalar.hpp defines them
//     isa/ISA.cpp                   the integer products of one instruction set: int8 activations times packed weights
//     elementwise.hpp, linear.hpp,  the shared code: written once over Vec16 and the integer products,
//     attention.hpp, noise.hpp,     compiled once for each instruction set
//     screen.hpp
//     dense.hpp                     the dense form of ternary weights, for instruction sets that have it
//     grouped.hpp                   products of ternary weights with a scale for each group of columns
//     table.hpp                     puts all of that into a table; isa/ISA.cpp includes it last
//
// All tables give bit-identical results. Integer sums are exact, so their order does not matter. Every float sum runs
// in 16 lanes of fused multiply-add (lane l takes elements l, l + 16, ...). The lanes are then added pairwise: 16 to
// 8, 4, 2, 1.
//
// Each isa/ISA.cpp is compiled with the flags of its instruction set. Such a file, and every header that it includes,
// keeps its code in anonymous namespaces and calls no inline function of the standard library, not even std::min. The
// reason: an inline function is compiled in every file that uses it, and the linker keeps only one of the copies. If it
// kept the copy with AVX-512 instructions, the whole program would crash on a processor without them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitnet {

// Ternary weights T in {-1, 0, 1} are packed as codes T + 1, which are 0, 1 or 2. The kernels multiply codes, because
// the dot product instructions of x86 take unsigned times signed bytes. Then sum(T * x) = sum(code * x) - sum(x), and
// sum(x) is computed once a token.
enum class TernaryForm {
    // As checkpoints store them. A byte holds one column of four outputs, which are a quarter of the matrix apart:
    //
    //     bits of byte [r, c]    7 6 | 5 4 | 3 2 | 1 0
    //     field                   3  |  2  |  1  |  0       field i is the code of output i * out / 4 + r, column c
    //
    // So 64 bytes hold four rows of weights for the same 64 activations.
    stored,
    // Three weights in 5 bits instead of 6, see dense.hpp.
    dense,
    // With a scale for each `group` columns of a row, see grouped.hpp. Here a code may also be 3, for T = 2.
    grouped
};

// A matrix of `out` rows and `in` columns, at any alignment. Weights are T * scale.
struct TernaryMatrix {
    const std::uint8_t* packed;  // [byte_rows][row_bytes]
    std::size_t out, in;
    float scale;  // not in the grouped form, whose scales are among the bytes
    TernaryForm form;
    std::size_t group = 0;  // only in the grouped form: 64 or 128; `in` is a multiple of it
};

// The dense form packs 512 columns of three outputs into 320 bytes: 5 bits a column.
constexpr std::size_t kDenseColumns = 512, kDenseBytes = 320;

// Kernels work on blocks of up to 16 byte rows: the 16 numbers of one field are one Vec16.
constexpr std::size_t kBlockRows = 16;

// A byte row is one row of packed bytes. It holds 4 (stored) or 3 (dense) outputs: field i of byte row r is output
// i * byte_rows + r. In the grouped form it holds the 16 outputs from 16 * r on. These are functions with internal
// linkage and not members: a member would be an inline function, and the linker might keep the copy that was compiled
// for the wrong instruction set.
static inline std::size_t fields_of(TernaryForm form) {
    return form == TernaryForm::grouped ? kBlockRows : form == TernaryForm::dense ? 3 : 4;
}
static inline std::size_t byte_rows(const TernaryMatrix& weight) {
    return (weight.out + fields_of(weight.form) - 1) / fields_of(weight.form);
}
static inline std::size_t dense_row_bytes(std::size_t in) {
    return in / kDenseColumns * kDenseBytes + (in % kDenseColumns + 63) / 64 * 64;
}
// How many bytes ahead of their use the grouped form is asked for. With the multiplications between its loads, a core
// by itself keeps too few loads under way (docs/decisions/0015).
constexpr std::size_t kGroupedAhead = 4096;

// Asks for the cache line `ahead` bytes after `bytes`. After the end of an array, that does nothing. The sum is one of
// integers, as a pointer must not leave its array.
static inline void prefetch(const std::uint8_t* bytes, std::size_t ahead) {
    __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(bytes) + ahead));
}

// Bytes of a group of columns in the grouped form: 16 scales in float16, then 2 bits for each of 16 rows of codes.
static inline std::size_t group_bytes(std::size_t group) { return kBlockRows * (2 + group / 4); }
static inline std::size_t row_bytes(const TernaryMatrix& weight) {
    if (weight.form == TernaryForm::grouped) return weight.in / weight.group * group_bytes(weight.group);
    return weight.form == TernaryForm::dense ? dense_row_bytes(weight.in) : weight.in;
}

// A low-rank adapter (LoRA) of a linear, see low_rank.hpp. Without one, rank is 0.
struct Adapter {
    const float* a;  // [rank][in]
    const float* b;  // [rank][out]
    std::size_t rank, in, out;
    float scaling;
};

// Quantised activations q = rint(x * s), one row a token. `stride` is the number of columns rounded up to a multiple of
// 64; values beyond the columns are zeros, so kernels may read whole registers.
struct Activations {
    const std::int8_t* values;  // [tokens][stride]
    std::size_t stride;
    const float* scales;       // [tokens]: s. For the grouped form [tokens][in / group]: 1 / s of each group
    const std::int32_t* sums;  // [tokens]: sum(q). For the grouped form likewise
    std::size_t tokens;
};

enum class HiddenAct { relu2, silu };

// How many queries `attend` takes at once: 4 tokens with 4 query heads for each KV head. Their scores of 4096 positions
// are 256 KB, which stay in a second-level cache.
constexpr std::size_t kQueryTile = 16;

// Where the keys (or the values) of one head lie. A block holds `block_size` positions; `group` blocks follow one
// another without a gap; groups are `group_stride` apart.
struct KVLayout {
    std::size_t block_size;    // positions
    std::size_t head_stride;   // floats a position: head_dim rounded up to a multiple of 16
    std::size_t group;         // blocks
    std::size_t group_stride;  // floats from the start of a group to the start of the next
};

// Floats from block 0 to `block`.
static inline std::size_t block_offset(const KVLayout& layout, std::size_t block) {
    return block / layout.group * layout.group_stride + block % layout.group * layout.block_size * layout.head_stride;
}

// Up to kQueryTile queries that read the same key/value head of one sequence. Position p is row p % block_size of block
// blocks[p / block_size], and block_offset says where that block is.
struct AttentionTile {
    const float* queries[kQueryTile];  // head_stride floats each, zeros beyond head_dim
    float* outputs[kQueryTile];        // head_dim floats each
    std::size_t contexts[kQueryTile];  // how many positions each query sees, its own included
    std::size_t count;                 // queries in use
    const float* keys;                 // block 0 of this head
    const float* values;
    const std::int32_t* blocks;  // the block table of the sequence
    KVLayout layout;
    std::size_t head_dim;
    float scale;                // of q . k
    float* scores;              // scratch, kQueryTile rows of scores_stride floats
    std::size_t scores_stride;  // not less than the longest context
    float* sums;                // scratch, kQueryTile rows of head_stride floats
};

// The noise of a row: sampling picks the token with the largest sum of logit and noise. See noise.hpp.
struct Noise {
    std::uint32_t seed[2], position, choice;
    float scale;  // the temperature; 0 for no noise
};

// The screen bounds logits from a 6-bit copy of the lm_head. screen.hpp explains the structs from here to ScreenBounds.

// The numbers of one row w of the lm_head. Both norms are Euclidean and rounded up: never smaller than the true ones.
struct ScreenRow {
    float half_step;  // half the distance of two neighbouring codes' values
    float error;      // |w - the value of its codes|
    float norm;       // |w|
};

// Up to 64 rows of the lm_head. Four rows share a byte row: field i of byte row r is row i * kBlockRows + r of the
// block. The arrays of floats always have 64 elements; those of missing byte rows are zeros.
struct ScreenBlock {
    const std::uint8_t* bytes;  // [byte rows][3 * stride of the activations]
    std::size_t rows;           // byte rows, at most kBlockRows
    const float* half_steps;    // [4][kBlockRows]
    const float* errors;        // [4][kBlockRows]
    const float* norms;         // [4][kBlockRows]
    std::uint32_t ids[4];       // the token of byte row 0 of each field; the next byte row is the next token
};

// sum(code * value) of a block's rows for one row of activations: [field][byte row].
using ScreenSums = std::int32_t[4][kBlockRows];

// The activations x of one token, and what it asks. They are quantised to x' = unit * values, or, more closely, to
// x' = unit * values + fine_unit * fine values.
struct ScreenQuery {
    float unit, fine_unit;
    float norm;       // an upper bound of |x'|
    float rounding;   // an upper bound of |x - x'|, with the rounding errors of float32 sums added
    float threshold;  // smaller logits are dropped, unless logit + noise reaches score_threshold
    Noise noise;
    float score_threshold;  // means nothing without noise
};

// The answer for one token: bounds of the 64 logits of a block. Bit n and element n stand for row n of the block.
struct ScreenBounds {
    std::uint64_t reached;         // bit set: an upper bound reaches its threshold. The logit must be computed.
    std::uint64_t likely;          // bit set: the estimate reaches it too, so the logit probably does
    float upper[4 * kBlockRows];   // an upper bound of each logit
    float scores[4 * kBlockRows];  // an upper bound of each logit + noise; not written without noise
};

struct Kernels {
    const char* name;
    // Converts n bfloat16 numbers at any alignment to float32.
    void (*widen)(const std::uint8_t* bits, std::size_t n, float* out);
    // Writes row `row` of a matrix in the grouped form as float32 [in]: T times its scale, which is exact.
    void (*widen_grouped)(const TernaryMatrix& weight, std::size_t row, float* out);
    // out = gain * (x / sqrt(mean(x^2) + eps)). `out` may be `x`.
    void (*rmsnorm)(const float* x, const float* gain, float eps, std::size_t n, float* out);
    // scale = 127 / max(max|x|, 1e-5), values = clip(rint(x * scale), -128, 127), padded with zeros to a multiple
    // of 64. sum is the sum of the values.
    void (*quantize)(const float* x, std::size_t n, std::int8_t* values, float* scale, std::int32_t* sum);
    // The same for each `group` columns of the row by themselves, for the grouped form: `units` are 1 / scale. `n` is a
    // multiple of `group`. The values are in the order that grouped.hpp needs.
    void (*quantize_groups)(const float* x, std::size_t n, std::size_t group, std::int8_t* values, float* units,
                            std::int32_t* sums);
    // Rotates one head of 2 * half floats: x * cos + concat(-x[half:], x[:half]) * sin. Multiplies and adds are rounded
    // one by one, without fused multiply-add, as the numerics contract has it.
    void (*rope)(const float* x, const float* cos, const float* sin, std::size_t half, float* out);
    // out[t, o] = float(sum(q * T)) * (weight.scale / s), for the outputs o of byte rows first..last (exclusive). In
    // the grouped form, the sum over all groups that grouped.hpp defines.
    void (*linear)(const TernaryMatrix& weight, const Activations& x, std::size_t first, std::size_t last, float* out,
                   std::size_t out_stride);
    // The same added to what `out` holds.
    void (*linear_add)(const TernaryMatrix& weight, const Activations& x, std::size_t first, std::size_t last,
                       float* out, std::size_t out_stride);
    // out[t, o] = act(gate product) * (up product). Both matrices have the same shape and form.
    void (*gate_up)(const TernaryMatrix& gate, const Activations& gate_x, const TernaryMatrix& up,
                    const Activations& up_x, HiddenAct act, std::size_t first, std::size_t last, float* out,
                    std::size_t out_stride);
    // y = act(y) * up, for n numbers.
    void (*gate)(const float* up, HiddenAct act, std::size_t n, float* y);
    // u = (A x) * scaling, `rank` numbers.
    void (*low_rank)(const Adapter& adapter, const float* x, float* u);
    // y[o] += (B u)[o] for the outputs first..last (exclusive).
    void (*add_low_rank)(const Adapter& adapter, const float* u, std::size_t first, std::size_t last, float* y);
    // Softmax attention of the tile's queries, see attention.hpp.
    void (*attend)(const AttentionTile& tile);
    // out[t, row] = x[t] . weights[row] for bfloat16 weights [rows, in] at any alignment.
    void (*logits)(const std::uint8_t* weights, std::size_t in, std::size_t rows, const float* x, std::size_t x_stride,
                   std::size_t tokens, float* out, std::size_t out_stride);
    // out[i] = x . rows[i] for up to 4 rows that need not be neighbours. The bits are those that `logits` gives.
    void (*logits_of)(const std::uint8_t* const* rows, std::size_t in, std::size_t count, const float* x, float* out);
    // Packs four rows of bfloat16 weights into one byte row of the screen, 3 * stride bytes; stride is `in` rounded up
    // to a multiple of 64. A null pointer stands for a row of zeros. `codes` is scratch of 4 * stride bytes.
    void (*screen_pack)(const std::uint8_t* const (&weights)[4], std::size_t in, std::uint8_t* codes,
                        std::uint8_t* bytes, ScreenRow (&rows)[4]);
    // Bounds a block's logits for each of `tokens` queries. x has one row of values for each query, or two: then the
    // rows of fine values follow after all the others. `sums` is scratch, one for each row of x.
    void (*screen_bounds)(const ScreenBlock& block, const Activations& x, std::size_t tokens,
                          const ScreenQuery* queries, ScreenSums* sums, ScreenBounds* bounds);
    // Converts a stored matrix to byte rows first..last (exclusive) of its dense form. `indices` is scratch of `in`
    // bytes. Null where the instruction set has no dense form.
    void (*pack_dense)(const TernaryMatrix& weight, std::size_t first, std::size_t last, std::uint8_t* indices,
                       std::uint8_t* dense);
    // Multiplies int8 numbers in registers as fast as the instruction set can, for the roofline of the benchmark.
    // Returns how many products that were.
    std::size_t (*multiply_int8)(std::size_t rounds);
};

// The table of each instruction set. Those of another architecture than the one compiled for are declared, not defined.
const Kernels* scalar_kernels();
const Kernels* avx2_kernels();
const Kernels* avx_vnni_kernels();
const Kernels* avx512_vnni_kernels();
const Kernels* avx512_vbmi_kernels();
const Kernels* neon_kernels();

}  // namespace bitnet
