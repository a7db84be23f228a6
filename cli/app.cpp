#include "cli/app.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/connect.hpp"
#include "cli/help.hpp"
#include "cli/output.hpp"
#include "cli/parse.hpp"
#include "cli/unless_stopped.hpp"
#include "core/explain/diagnose.hpp"

namespace vmferry::cli {

namespace {

// The opener with libvirt.conf's aliases: a destination may be one as well.
struct AliasOpener {
  Opener open;
  std::shared_ptr<const ClientConfig> config;
  Task<std::unique_ptr<Host>> operator()(std::string uri) const {
    return open(config->alias(uri).value_or(uri));
  }
};

Task<Exit> run_parsed(Surroundings& around, const Parsed& parsed) {
  if (parsed.globals.version) {
    around.sink.out("vmferry " VMFERRY_VERSION "\n");
    co_return Exit::done;
  }
  if (parsed.globals.help) {
    const std::size_t columns = around.terminal.out ? std::max(around.terminal.columns, 60U) : 80;
    around.sink.out(parsed.command ? command_help(*parsed.command, columns) : overview(columns));
    co_return Exit::done;
  }
  auto config = std::make_shared<const ClientConfig>(
      value_or_throw(load_client_config(around.environment, around.root)));
  Context context{.executor = around.executor,
                  .clock = around.clock,
                  .stop = around.stop,
                  .open = AliasOpener{around.open, config},
                  .sink = around.sink,
                  .environment = around.environment,
                  .terminal = around.terminal,
                  .format = parsed.globals.format,
                  .quiet = parsed.globals.quiet,
                  .uri = named_uri(parsed.globals.connect, around.environment, *config)};
  Task<Exit> task = parsed.command->run(context, parsed.values);
  if (!parsed.command->handles_stop) task = unless_stopped(around.stop, std::move(task));
  const Exit exit = co_await std::move(task);
  co_return exit;
}

}  // namespace

Task<Exit> run_command_line(Surroundings around, std::vector<std::string> words) {
  Format format = Format::text;
  const Result<Parsed> parsed = parse(words, format);
  if (!parsed) {
    print_error(around.sink, format, around.terminal, parsed.error());
    co_return parsed.error().exit();
  }
  Task<Exit> task = run_parsed(around, *parsed);
  const Result<Exit> result = co_await settle(std::move(task));
  if (result) co_return *result;
  const Error error = diagnose(result.error());
  print_error(around.sink, format, around.terminal, error);
  co_return error.exit();
}

}  // namespace vmferry::cli
