// The largest logits of a row among those that a core computes: by falling logit, and equal logits by rising token id.
#pragma once

#include <stdint.h>

#include "../common/candidate.hpp"
#include "../common/rows.hpp"

namespace largest {

// The candidates of one row, sorted, at most COUNT.
//
// A logit is inserted into the sorted candidates. Few logits get that far: most are smaller than the smallest one.
template <uint32_t COUNT>
class Row {
  public:
    // Offer `length` logits, at most half a row of a tile. Token ids rise from call to call.
    void offer(Candidates candidates, rows::Words logits, uint32_t length, uint32_t token_id) {
        if (found_ == COUNT && length == tile::FACE && !any_enters(logits)) {
            return;
        }
        for (uint32_t index = 0; index < length; ++index) {
            insert(candidates, logits[index], token_id + index);
        }
    }

    // Mark the places that are left as empty.
    void finish(Candidates candidates, uint32_t no_token) const {
        for (uint32_t place = found_; place < COUNT; ++place) {
            candidates[place].token_id = no_token;
        }
    }

  private:
    // Whether any of half a row is larger than the smallest candidate.
    bool any_enters(rows::Words logits) const {
        if (smallest_ >= 0) {
            int32_t largest = 0;
#pragma GCC unroll 16
            for (uint32_t index = 0; index < tile::FACE; ++index) {
                const int32_t value = static_cast<int32_t>(logits[index]);
                largest = value > largest ? value : largest;
            }
            return largest > smallest_;
        }
        // Bits without a sign: those of negative numbers are above all others, and the smaller the larger the number.
        uint32_t least = ~0u;
#pragma GCC unroll 16
        for (uint32_t index = 0; index < tile::FACE; ++index) {
            const uint32_t value = logits[index];
            least = value < least ? value : least;
        }
        return least < 0x80000000 - static_cast<uint32_t>(smallest_);
    }

    void insert(Candidates candidates, uint32_t logit, uint32_t token_id) {
        const int32_t rank = rank_of(logit);
        // An equal logit that comes later loses.
        if (found_ == COUNT && rank <= smallest_) {
            return;
        }
        uint32_t place = found_ < COUNT ? found_++ : COUNT - 1;
        for (; place > 0 && rank_of(candidates[place - 1].logit) < rank; --place) {
            candidates[place].logit = candidates[place - 1].logit;
            candidates[place].token_id = candidates[place - 1].token_id;
        }
        candidates[place].logit = logit;
        candidates[place].token_id = token_id;
        smallest_ = rank_of(candidates[found_ - 1].logit);
    }

    uint32_t found_ = 0;
    int32_t smallest_ = 0;  // the rank of the last candidate
};

}  // namespace largest
