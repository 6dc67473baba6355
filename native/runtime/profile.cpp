#include "runtime/profile.hpp"

namespace bitnet {

void Profile::start() {
    phases_.assign(phases_.size(), {});
    on_ = true;
}

std::vector<PhaseTime> Profile::stop() {
    on_ = false;
    return phases_;
}

void Profile::open(std::size_t kind, std::size_t threads) {
    if (!on_) return;
    kind_ = kind;
    threads_ = threads;
    begin_ = Clock::now();
}

void Profile::close(std::size_t bytes) {
    if (!on_) return;
    const PhaseTime::Duration wall = Clock::now() - begin_;
    PhaseTime& phase = phases_[kind_];
    phase.calls += 1;
    phase.bytes += bytes;
    phase.wall += wall;
    phase.available += wall * threads_;
    for (Worker& worker : workers_) {
        phase.work += worker.time;
        worker.time = {};
    }
}

}  // namespace bitnet
