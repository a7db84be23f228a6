#include "transports/ssh/helper.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/base/serve_protocol.hpp"
#include "core/base/text.hpp"
#include "transports/daemons.hpp"

namespace vmferry {
namespace {

// Exit statuses of our script; the first is what a shell says of a missing command as well.
constexpr int kNoProgram = 127, kNoSocket = 66;
// Of vmferry: it does not understand the command line, or the protocol that it names.
constexpr int kUsage = 2, kOtherProtocol = 4;
constexpr std::string_view kRuntimeDir = "/var/run/libvirt";

Result<> quotable(std::string_view what, std::string_view value) {
  const auto odd = [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\' || c == '!';
  };
  if (std::ranges::none_of(value, odd)) return {};
  return fail(ErrorId::uri_invalid,
              fmt::format("{} \"{}\" cannot be used over ssh: it holds a control character, a "
                          "backslash or an exclamation mark",
                          what, escaped(value, 256)));
}

std::string quoted(std::string_view text) { return shell_single_quoted(text); }

// Where nc finds the daemon, as a sequence of commands that ends in S being set.
std::string socket_choice(const ConnectUri& uri, bool read_only) {
  if (uri.socket) return fmt::format("S={}; ", quoted(*uri.socket));
  const std::string suffix = read_only ? "-sock-ro" : "-sock";
  const auto daemon = daemon_name(uri.driver);
  const std::string legacy = quoted(fmt::format("{}/libvirt{}", kRuntimeDir, suffix));
  const std::string direct =
      daemon ? quoted(fmt::format("{}/{}{}", kRuntimeDir, *daemon, suffix)) : legacy;
  if (uri.mode == DaemonMode::direct) return fmt::format("S={}; ", direct);
  if (uri.mode == DaemonMode::legacy || !daemon) return fmt::format("S={}; ", legacy);
  return fmt::format("S={0}; if test -S {1}; then S={1}; fi; ", legacy, direct);
}

std::string netcat_script(const ConnectUri& uri, bool read_only) {
  const std::string nc = quoted(uri.netcat.value_or("nc"));
  std::string script = fmt::format(
      "if ! command -v {0} >/dev/null 2>&1; then echo {0}: not found >&2; exit {1}; fi; ", nc,
      kNoProgram);
  script += socket_choice(uri, read_only);
  script += fmt::format("if ! test -S \"$S\"; then echo \"$S\": no such socket >&2; exit {}; fi; ",
                        kNoSocket);
  // As libvirt does: a netcat that has -q complains about its missing argument.
  script += fmt::format(
      "if {0} -q 2>&1 | grep 'requires an argument' >/dev/null 2>&1; then exec {0} -q0 -U \"$S\"; "
      "fi; exec {0} -U \"$S\"",
      nc);
  return script;
}

std::string native_script(const ConnectUri& uri, bool read_only) {
  return fmt::format("exec virt-ssh-helper {}{}", read_only ? "-r " : "",
                     quoted(uri.helper_name()));
}

std::string serve_script(const ConnectUri& uri) {
  const std::string program = quoted(uri.vmferry.value_or("vmferry"));
  return fmt::format(
      "if ! command -v {0} >/dev/null 2>&1; then echo {0}: not found >&2; exit {1}; fi; "
      "exec {0} serve --stdio --protocol {2} {3}",
      program, kNoProgram, kServeProtocol, quoted(uri.open_name()));
}

bool serves_itself(const ConnectUri& uri) { return uri.driver == "test" || uri.driver == "qmp"; }

Result<std::string> script_for(const ConnectUri& uri, const std::string& user, bool read_only) {
  if (serves_itself(uri)) return serve_script(uri);
  // Where the socket of another user's session is, only the helper there can know.
  const bool session = uri.session() && user != "root" && !uri.socket;
  const bool automatic = uri.proxy == SshProxy::automatic;
  const bool forced = automatic && (uri.netcat || (uri.socket && !uri.uri.param("proxy")));
  if (session && (forced || uri.proxy == SshProxy::netcat))
    return fail(ErrorId::uri_invalid,
                fmt::format("{}: the socket of a user's session cannot be known here; name it with "
                            "socket=, or use virt-ssh-helper (proxy=native)",
                            uri.to_string()));
  const std::string native = native_script(uri, read_only);
  if (forced || uri.proxy == SshProxy::netcat) return netcat_script(uri, read_only);
  const std::string otherwise =
      session || !automatic
          ? fmt::format("echo virt-ssh-helper: not found >&2; exit {}", kNoProgram)
          : netcat_script(uri, read_only);
  return fmt::format("if command -v virt-ssh-helper >/dev/null 2>&1; then {}; fi; {}", native,
                     otherwise);
}

bool mentions(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::any_of(words, [&](std::string_view w) { return text.find(w) != text.npos; });
}

}  // namespace

Result<std::string> remote_command(const ConnectUri& uri, const std::string& user, bool read_only) {
  const std::pair<std::string_view, std::string> values[] = {{"netcat=", uri.netcat.value_or("")},
                                                             {"socket=", uri.socket.value_or("")},
                                                             {"vmferry=", uri.vmferry.value_or("")},
                                                             {"the URI", uri.helper_name()}};
  for (const auto& [what, value] : values)
    if (auto good = quotable(what, value); !good) return std::unexpected(std::move(good).error());
  const auto script = script_for(uri, user, read_only);
  if (!script) return script;
  return "sh -c " + quoted(*script);
}

Error helper_failed(const ConnectUri& uri, const std::string& peer, std::optional<int> status,
                    const std::string& said) {
  const std::string words = said.empty() ? "it said nothing" : said;
  if (status == kNoProgram && serves_itself(uri))
    return Error(ErrorId::ssh_helper, fmt::format("{} has no vmferry: {}", peer, words))
        .advise("Install vmferry there, or say where it is: ?vmferry=/path/to/vmferry.");
  if (serves_itself(uri) && (status == kUsage || status == kOtherProtocol))
    return {ErrorId::peer_version,
            fmt::format("the vmferry on {} is of another version than this one ({}): {}", peer,
                        VMFERRY_VERSION, words)};
  if (status == kNoProgram)
    return {ErrorId::ssh_helper,
            fmt::format("{} has no program that leads to its daemon: {}", peer, words)};
  const bool daemon = status == kNoSocket || mentions(said, {"No such file", "Connection refused",
                                                             "Failed to connect socket"});
  if (daemon)
    return Error(ErrorId::connect_failed,
                 fmt::format("the login to {} works, but no daemon answers there: {}", peer, words))
        .advise(daemon_remedy(uri.driver, uri.session()) + " On that host, that is.");
  if (mentions(said, {"Permission denied", "permission"}))
    return Error(ErrorId::connect_failed,
                 fmt::format("the login to {} may not use the daemon there: {}", peer, words))
        .advise("Log in as root, or put the user into the group libvirt there.");
  const std::string end = status ? fmt::format("ended with status {}", *status) : "ended";
  return {ErrorId::connect_failed,
          fmt::format("the program that {} ran to reach its daemon {}: {}", peer, end, words)};
}

}  // namespace vmferry
