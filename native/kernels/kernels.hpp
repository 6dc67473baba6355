// The table of kernels. Each instruction set fills one, from the same float code over its own Vec16
// (16 float lanes) and with an integer product of its own. All tables give bit-identical results: every float sum runs
// in 16 lanes of fused multiply-add (lane l takes elements l, l + 16, ...), lanes then added pairwise (8, 4, 2, 1).
//
// Every translation unit under kernels/ that is built with instruction set flags keeps its code in anonymous namespaces
// and calls no inline function of the standard library: the linker may keep any one copy of such a function, and if it
// kept the AVX-512 one, every other variant would crash on a lesser CPU.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitnet {

// How bytes hold ternary weights. As checkpoints store them: bits 2i..2i+1 of byte [r, c] hold output i * out / 4 + r,
// column c, as T + 1. Dense: see dense.hpp.
enum class TernaryForm { stored, dense };

// `packed` may have any alignment.
struct TernaryMatrix {
    const std::uint8_t* packed;
    std::size_t out, in;
    float scale;
    TernaryForm form;
};

// Columns of dense weights that share bytes, and those bytes.
constexpr std::size_t kDenseColumns = 512, kDenseBytes = 320;

// Not members, of which the linker would keep any instruction set's copy; so with the other functions here.
// Output i * byte_rows + r is field i of byte row r.
static inline std::size_t fields_of(TernaryForm form) { return form == TernaryForm::dense ? 3 : 4; }
static inline std::size_t byte_rows(const TernaryMatrix& weight) {
    return (weight.out + fields_of(weight.form) - 1) / fields_of(weight.form);
}
static inline std::size_t dense_row_bytes(std::size_t in) {
    return in / kDenseColumns * kDenseBytes + (in % kDenseColumns + 63) / 64 * 64;
}
static inline std::size_t row_bytes(const TernaryMatrix& weight) {
    return weight.form == TernaryForm::dense ? dense_row_bytes(weight.in) : weight.in;
}

// Quantised rows of tokens. `stride` is a multiple of 64 and values beyond the columns are zeros.
struct Activations {
    const std::int8_t* values;
    std::size_t stride;
    const float* scales;       // s of q = rint(x * s), one a token
    const std::int32_t* sums;  // sum of the values, one a token
    std::size_t tokens;
};

enum class HiddenAct { relu2, silu };

constexpr std::size_t kQueryTile = 4;

// Where a head's keys or values of a block lie: blocks of a group follow one another.
struct KVLayout {
    std::size_t block_size;    // positions
    std::size_t head_stride;   // floats a position: head_dim rounded up to a multiple of 16
    std::size_t group;         // blocks
    std::size_t group_stride;  // floats from a group to the next
};

// Floats from block 0.
static inline std::size_t block_offset(const KVLayout& layout, std::size_t block) {
    return block / layout.group * layout.group_stride + block % layout.group * layout.block_size * layout.head_stride;
}

// Up to four queries that read the same key/value head of one sequence. Position p is row p % block_size of block
// blocks[p / block_size]; see block_offset for where those are.
struct AttentionTile {
    const float* queries[kQueryTile];  // head_stride floats each, zeros beyond head_dim
    float* outputs[kQueryTile];        // head_dim floats each
    std::size_t contexts[kQueryTile];  // how many positions each query sees, itself included
    std::size_t count;                 // queries in use
    const float* keys;
    const float* values;
    const std::int32_t* blocks;
    KVLayout layout;
    std::size_t head_dim;
    float scale;                // of q . k
    float* scores;              // scratch, kQueryTile rows of scores_stride floats
    std::size_t scores_stride;  // at least the longest context
    float* sums;                // scratch, kQueryTile rows of head_stride floats
};

// The low-bit copy of a row of the head, see screen.hpp. The norms, in Euclid's sense, are no less than the true ones.
struct ScreenRow {
    float half_step;
    float error;  // |w - its value in 6 bits|
    float norm;   // |w|
};

// Up to 64 rows of the head in low bits, four by four in rows of bytes: row i * 16 + r is field i of byte row r.
struct ScreenBlock {
    const std::uint8_t* bytes;  // [rows][3 * stride of the activations], see screen.hpp
    std::size_t rows;           // at most 16
    const float* half_steps;    // [4][16], zeros beyond the rows, as those that follow
    const float* errors;
    const float* norms;
};

// Sums over the columns of the fields of a block's rows.
using ScreenSums = std::int32_t[4][16];

// What a row of activations x asks of the screen. x ~ unit * values, or x ~ unit * values + fine_unit * fine values.
struct ScreenQuery {
    float unit, fine_unit;
    float norm;       // |x|, at least
    float rounding;   // |x - what the values make it| and what float32 sums add to it, at least
    float threshold;  // logits below it are of no interest
    // For the sum of exp((logit - best) * inverse_temperature) over those of no interest; 0 if it is not wanted.
    float inverse_temperature;
    float best;
};

// What the screen says of a block's logits for a token. Bit and place i * 16 + r are of row i * 16 + r of the block.
struct ScreenBounds {
    std::uint64_t reached;  // the logits that may reach the threshold
    std::uint64_t likely;   // those of them that probably do
    float rest;             // at most the sum of exponentials of the others
    float upper[64];        // at most the logits
};

struct Kernels {
    const char* name;
    // bfloat16 bits at any alignment to float32.
    void (*widen)(const std::uint8_t* bits, std::size_t n, float* out);
    // out = gain * (x / sqrt(mean(x^2) + eps)); out may be x.
    void (*rmsnorm)(const float* x, const float* gain, float eps, std::size_t n, float* out);
    // Numerics contract: values = rint(x * s), padded with zeros to a multiple of 64.
    void (*quantize)(const float* x, std::size_t n, std::int8_t* values, float* scale, std::int32_t* sum);
    // Rotates one head of 2 * half floats: x * cos + concat(-x[half:], x[:half]) * sin, without fused multiply-add.
    void (*rope)(const float* x, const float* cos, const float* sin, std::size_t half, float* out);
    // out[t, row] = y for the outputs of byte rows first..last.
    void (*linear)(const TernaryMatrix& weight, const Activations& x, std::size_t first, std::size_t last, float* out,
                   std::size_t out_stride);
    // out[t, row] += y.
    void (*linear_add)(const TernaryMatrix& weight, const Activations& x, std::size_t first, std::size_t last,
                       float* out, std::size_t out_stride);
    // out[t, row] = act(gate) * up, which have the same shape and form.
    void (*gate_up)(const TernaryMatrix& gate, const Activations& gate_x, const TernaryMatrix& up,
                    const Activations& up_x, HiddenAct act, std::size_t first, std::size_t last, float* out,
                    std::size_t out_stride);
    void (*attend)(const AttentionTile& tile);
    // out[t, row] = x[t] . weights[row] for bfloat16 weights [rows, in] at any alignment.
    void (*logits)(const std::uint8_t* weights, std::size_t in, std::size_t rows, const float* x, std::size_t x_stride,
                   std::size_t tokens, float* out, std::size_t out_stride);
    // out[i] = x . rows[i] for up to 4 rows: the same bits as `logits` gives.
    void (*logits_of)(const std::uint8_t* const* rows, std::size_t in, std::size_t count, const float* x, float* out);
    // Packs four rows of bfloat16 weights, null for rows of zeros, into a row of 3 * stride bytes; `codes` is scratch
    // of 4 * stride bytes, and the stride `in` rounded up to a multiple of 64.
    void (*screen_pack)(const std::uint8_t* const (&weights)[4], std::size_t in, std::uint8_t* codes,
                        std::uint8_t* bytes, ScreenRow (&rows)[4]);
    // The bounds of a block's logits for each of `tokens` queries. x has as many rows of values, or twice as many: the
    // fine ones last. `sums` is scratch, one for each row of x.
    void (*screen_bounds)(const ScreenBlock& block, const Activations& x, std::size_t tokens,
                          const ScreenQuery* queries, ScreenSums* sums, ScreenBounds* bounds);
    // Packs byte rows first..last of the dense form of a matrix as stored; `indices` is scratch of `in` bytes. Null
    // where the instruction set has no dense form.
    void (*pack_dense)(const TernaryMatrix& weight, std::size_t first, std::size_t last, std::uint8_t* indices,
                       std::uint8_t* dense);
    // Multiplies int8 as fast as the instruction set can; returns how many products that were. For measuring.
    std::size_t (*multiply_int8)(std::size_t rounds);
};

// One for each instruction set; on other architectures than its own it is not defined.
const Kernels* scalar_kernels();
const Kernels* avx2_kernels();
const Kernels* avx_vnni_kernels();
const Kernels* avx512_vnni_kernels();
const Kernels* avx512_vbmi_kernels();
const Kernels* neon_kernels();

}  // namespace bitnet
