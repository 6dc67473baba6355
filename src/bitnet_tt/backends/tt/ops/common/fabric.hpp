// A connection to the fabric, over which a core writes into the memory of a neighbouring card.
#pragma once

#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "arguments.hpp"
#include "tt_metal/fabric/hw/inc/edm_fabric/edm_fabric_worker_adapters.hpp"
#include "tt_metal/fabric/hw/inc/linear/api.h"
#include "tt_metal/fabric/hw/inc/noc_addr.h"

namespace fabric {

namespace api = tt::tt_fabric::linear::experimental;

constexpr uint8_t NOC = 0;  // addresses in packets are those of NoC 0, whatever NoC the router at the end uses

// Open while the object lives. A router serves one core at a time, so open it late.
class Connection {
  public:
    Connection() : header_(reinterpret_cast<Header>(get_write_ptr(BUFFER("header")))) {
        // Routers also read fields of the header that no call here sets.
        auto* words = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(header_);
        for (uint32_t word = 0; word < sizeof(PACKET_HEADER_TYPE) / sizeof(uint32_t); ++word) {
            words[word] = 0;
        }
        std::size_t argument = 0;  // the host puts the connection's arguments first
        sender_ = tt::tt_fabric::WorkerToFabricEdmSender::build_from_args<ProgrammableCoreType::TENSIX>(argument);
        sender_.open();
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() { sender_.close(); }

    // Write `bytes` bytes of this core's L1 to an address on the other card.
    void write(uint32_t from, uint32_t bytes, uint64_t to) {
        api::fabric_unicast_noc_unicast_write(&sender_, header_, from, bytes,
                                              tt::tt_fabric::NocUnicastCommandHeader{to}, HOPS);
        noc_async_writes_flushed();  // the next packet overwrites the header
    }

    // Add 1 to a semaphore of the same core of the other card, behind everything that was written there before.
    void raise(uint32_t semaphore) {
        const uint64_t to = safe_get_noc_addr(my_x[NOC], my_y[NOC], semaphore, NOC);
        constexpr bool behind_writes = true;
        api::fabric_unicast_noc_unicast_atomic_inc(
            &sender_, header_, tt::tt_fabric::NocUnicastAtomicIncCommandHeader{to, 1, behind_writes}, HOPS);
        noc_async_writes_flushed();
    }

  private:
    using Header = volatile tt_l1_ptr PACKET_HEADER_TYPE*;
    static constexpr uint8_t HOPS = 1;  // to a neighbour
    static_assert(sizeof(PACKET_HEADER_TYPE) <= 128, "op.py reserves 128 bytes");

    Header header_;
    tt::tt_fabric::WorkerToFabricEdmSender sender_;
};

}  // namespace fabric
