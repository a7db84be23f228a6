#pragma once
// Opens simulated hosts by URI, for as long as the process lives:
//
//   test:///default, test:///other     two hosts that every process has, with some guests
//   test:///PATH/FILE.xml?host=NAME    hosts from a file; without host=, the first one
//   test:///NAME                       another host of a file that is open already
//
// Parameters: rules=DRIVER (whose rules that host follows), seed=N and speed=FACTOR (when given
// first for that world), model=libvirt|ours (whether the host keeps a record of what it started;
// default: ours), address=HOST (where other processes reach that host for migration data; when not
// given, what the data network thinks best). Nothing outlives the process.
#include <map>
#include <memory>
#include <string>

#include "core/base/uri.hpp"
#include "core/drivers/test/world.hpp"

namespace vmferry::sim {

class TestDriver {
 public:
  /// `clock` outlives everything that is opened.
  explicit TestDriver(Clock& clock) : clock_(clock) {}
  /// For peer-to-peer migrations to hosts elsewhere.
  void set_opener(Opener opener) { opener_ = std::move(opener); }
  /// For migration data from and to other processes.
  void set_network(std::shared_ptr<DataNetwork> network) { network_ = std::move(network); }
  /// Errors: uri_invalid, not_found, xml, connect_failed.
  Task<std::unique_ptr<Host>> open(std::string uri);

 private:
  std::shared_ptr<World> world_for(const Uri& uri, std::string& host);
  Clock& clock_;
  Opener opener_;
  std::shared_ptr<DataNetwork> network_;
  std::map<std::string, std::shared_ptr<World>> worlds_;  // by file; "": the default one
};

}  // namespace vmferry::sim
