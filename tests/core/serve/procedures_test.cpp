// What a server has to answer so that stock clients can list, inspect and migrate, in every version
// of the migration protocol, and be told of it.
#include <doctest/doctest.h>

#include <algorithm>

#include "core/async/sim_clock.hpp"
#include "core/serve/host_service.hpp"
#include "tests/support/null_host.hpp"

namespace vmferry::serve {
namespace {

struct Needed {
  std::int32_t number;
  const char* name;  // as in libvirt's remote_protocol.x, without REMOTE_PROC_
};
constexpr Needed kNeeded[] = {
    {1, "CONNECT_OPEN"},
    {2, "CONNECT_CLOSE"},
    {3, "CONNECT_GET_TYPE"},
    {4, "CONNECT_GET_VERSION"},
    {6, "NODE_GET_INFO"},
    {7, "CONNECT_GET_CAPABILITIES"},
    {9, "DOMAIN_CREATE"},
    {10, "DOMAIN_CREATE_XML"},
    {11, "DOMAIN_DEFINE_XML"},
    {12, "DOMAIN_DESTROY"},
    {13, "DOMAIN_GET_OS_TYPE"},
    {14, "DOMAIN_GET_XML_DESC"},
    {15, "DOMAIN_GET_AUTOSTART"},
    {16, "DOMAIN_GET_INFO"},
    {21, "CONNECT_LIST_DEFINED_DOMAINS"},
    {22, "DOMAIN_LOOKUP_BY_ID"},
    {23, "DOMAIN_LOOKUP_BY_NAME"},
    {24, "DOMAIN_LOOKUP_BY_UUID"},
    {25, "CONNECT_NUM_OF_DEFINED_DOMAINS"},
    {28, "DOMAIN_RESUME"},
    {29, "DOMAIN_SET_AUTOSTART"},
    {33, "DOMAIN_SHUTDOWN"},
    {34, "DOMAIN_SUSPEND"},
    {35, "DOMAIN_UNDEFINE"},
    {37, "CONNECT_LIST_DOMAINS"},
    {51, "CONNECT_NUM_OF_DOMAINS"},
    {59, "CONNECT_GET_HOSTNAME"},
    {60, "CONNECT_SUPPORTS_FEATURE"},
    {61, "DOMAIN_MIGRATE_PREPARE"},
    {62, "DOMAIN_MIGRATE_PERFORM"},
    {63, "DOMAIN_MIGRATE_FINISH"},
    {66, "AUTH_LIST"},
    {102, "NODE_GET_FREE_MEMORY"},
    {105, "CONNECT_DOMAIN_EVENT_REGISTER"},
    {106, "CONNECT_DOMAIN_EVENT_DEREGISTER"},
    {108, "DOMAIN_MIGRATE_PREPARE2"},
    {109, "DOMAIN_MIGRATE_FINISH2"},
    {110, "CONNECT_GET_URI"},
    {121, "DOMAIN_GET_SECURITY_LABEL"},
    {122, "NODE_GET_SECURITY_MODEL"},
    {148, "DOMAIN_MIGRATE_PREPARE_TUNNEL"},
    {149, "CONNECT_IS_SECURE"},
    {150, "DOMAIN_IS_ACTIVE"},
    {151, "DOMAIN_IS_PERSISTENT"},
    {157, "CONNECT_GET_LIB_VERSION"},
    {163, "DOMAIN_GET_JOB_INFO"},
    {164, "DOMAIN_ABORT_JOB"},
    {166, "DOMAIN_MIGRATE_SET_MAX_DOWNTIME"},
    {167, "CONNECT_DOMAIN_EVENT_REGISTER_ANY"},
    {168, "CONNECT_DOMAIN_EVENT_DEREGISTER_ANY"},
    {183, "DOMAIN_HAS_MANAGED_SAVE_IMAGE"},
    {187, "DOMAIN_SNAPSHOT_NUM"},
    {196, "DOMAIN_CREATE_WITH_FLAGS"},
    {202, "DOMAIN_IS_UPDATED"},
    {207, "DOMAIN_MIGRATE_SET_MAX_SPEED"},
    {212, "DOMAIN_GET_STATE"},
    {213, "DOMAIN_MIGRATE_BEGIN3"},
    {214, "DOMAIN_MIGRATE_PREPARE3"},
    {215, "DOMAIN_MIGRATE_PREPARE_TUNNEL3"},
    {216, "DOMAIN_MIGRATE_PERFORM3"},
    {217, "DOMAIN_MIGRATE_FINISH3"},
    {218, "DOMAIN_MIGRATE_CONFIRM3"},
    {231, "DOMAIN_UNDEFINE_FLAGS"},
    {234, "DOMAIN_DESTROY_FLAGS"},
    {242, "DOMAIN_MIGRATE_GET_MAX_SPEED"},
    {258, "DOMAIN_SHUTDOWN_FLAGS"},
    {273, "CONNECT_LIST_ALL_DOMAINS"},
    {298, "DOMAIN_GET_JOB_STATS"},
    {299, "DOMAIN_MIGRATE_GET_COMPRESSION_CACHE"},
    {300, "DOMAIN_MIGRATE_SET_COMPRESSION_CACHE"},
    {302, "DOMAIN_MIGRATE_BEGIN3_PARAMS"},
    {303, "DOMAIN_MIGRATE_PREPARE3_PARAMS"},
    {304, "DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS"},
    {305, "DOMAIN_MIGRATE_PERFORM3_PARAMS"},
    {306, "DOMAIN_MIGRATE_FINISH3_PARAMS"},
    {307, "DOMAIN_MIGRATE_CONFIRM3_PARAMS"},
    {316, "CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY"},
    {317, "CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY"},
    {342, "CONNECT_GET_DOMAIN_CAPABILITIES"},
    {350, "DOMAIN_DEFINE_XML_FLAGS"},
    {360, "CONNECT_REGISTER_CLOSE_CALLBACK"},
    {361, "CONNECT_UNREGISTER_CLOSE_CALLBACK"},
    {364, "DOMAIN_MIGRATE_START_POST_COPY"},
    {387, "DOMAIN_MIGRATE_GET_MAX_DOWNTIME"},
    {442, "DOMAIN_ABORT_JOB_FLAGS"},
};

TEST_CASE("server: every procedure that clients need is answered") {
  const auto answered = HostService::procedures();
  for (const Needed& needed : kNeeded) {
    CAPTURE(needed.name);
    CHECK(std::ranges::binary_search(answered, needed.number));
  }
  for (const std::int32_t number : answered) {
    CAPTURE(number);
    CHECK(std::ranges::count(kNeeded, number, &Needed::number) == 1);  // the list is complete
  }
}

struct Deaf final : rpc::Peer {
  void send_event(std::int32_t, const Bytes&) override {}
  void start_keepalive() override {}
  void finish() override {}
};

Task<std::unique_ptr<Host>> open_null(const std::string&) {
  co_return std::make_unique<NullHost>();
}

// Arguments that are missing are found missing by the procedure itself, not taken for another one.
TEST_CASE("server: each procedure reads its own arguments") {
  asio::io_context io{1};
  SimClock clock(io);
  Deaf peer;
  for (const Needed& needed : kNeeded) {
    HostService service(peer, open_null);
    rpc::Opened opened;
    Bytes open = value_or_throw(xdr::encode(proto::OpenArgs{}));
    clock.run(service.call(proto::ConnectOpen::number, std::move(open), opened));
    Bytes odd(1);
    const auto result = clock.run(settle(service.call(needed.number, std::move(odd), opened)));
    CAPTURE(needed.name);
    REQUIRE_FALSE(result);
    CHECK(result.error().message.starts_with("unable to decode message payload"));
  }
}

}  // namespace
}  // namespace vmferry::serve
