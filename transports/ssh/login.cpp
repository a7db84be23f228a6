#include "transports/ssh/login.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/text.hpp"
#include "transports/ssh/answers.hpp"
#include "transports/ssh/key_file.hpp"
#include "transports/ssh/known_hosts.hpp"

namespace vmferry {
namespace {

constexpr int kTries = 3;  // OpenSSH's NumberOfPasswordPrompts
constexpr long kNothing = 1;

// The state of one login. Every method returns whether it let us in.
class Login {
 public:
  Login(SshSession& session, const ConnectUri& uri, const SshConfig& config, Clock& clock,
        const DialOptions& options)
      : session_(session), uri_(uri), config_(config), clock_(clock), options_(options) {}

  Task<SshLogin> run() {
    const bool open = co_await ask_methods();
    if (open) co_return SshLogin::in;
    std::vector<std::string> order = uri_.sshauth;
    if (order.empty()) order = {"agent", "privkey", "password", "keyboard-interactive"};
    for (const std::string& method : order) {
      const std::string wanted = method == "agent" || method == "privkey" ? "publickey" : method;
      if (std::ranges::find(offered_, wanted) == offered_.end()) {
        tried_.push_back(method + " (not offered)");
        continue;
      }
      if (rsa_ && wanted != "publickey" && config_.has_program) co_return SshLogin::try_program;
      const bool in = co_await attempt(method);
      if (in) co_return SshLogin::in;
    }
    if (rsa_ && config_.has_program) co_return SshLogin::try_program;
    throw refused();
  }

 private:
  using Question = std::optional<std::string>;

  Task<bool> attempt(const std::string& method) {
    if (method == "agent") co_return co_await by_agent();
    if (method == "privkey") co_return co_await by_keys();
    if (method == "password") co_return co_await by_password();
    co_return co_await by_interaction();
  }

  const char* user() const { return config_.user.c_str(); }
  unsigned user_size() const { return static_cast<unsigned>(config_.user.size()); }
  std::string who() const { return fmt::format("{}@{}", config_.user, session_.peer()); }

  // What the server offers; true when it lets us in without anything.
  Task<bool> ask_methods() {
    char* list = nullptr;
    const auto call = [&]() -> long {
      list = libssh2_userauth_list(session_.raw(), user(), user_size());
      if (list != nullptr) return 0;
      if (libssh2_userauth_authenticated(session_.raw()) != 0) return kNothing;
      return libssh2_session_last_errno(session_.raw());
    };
    const long result = co_await session_.step(clock_, options_.timeout, "the login", call);
    if (result < 0) throw session_.lost(session_.last_error());
    if (result == 0)
      for (const std::string_view method : split(list, ',')) offered_.emplace_back(method);
    co_return result == kNothing;
  }

  // One exchange of a method: 0 is in; a refusal is another value. A broken connection throws.
  template <class Call>
  Task<bool> exchange(Call call) {
    const long result =
        co_await session_.step(clock_, options_.timeout, "the login", std::move(call));
    if (result == LIBSSH2_ERROR_SOCKET_DISCONNECT || result == LIBSSH2_ERROR_SOCKET_RECV ||
        result == LIBSSH2_ERROR_SOCKET_SEND) {
      Error error = refused();
      error.note("the server ended the connection; it may allow fewer attempts (MaxAuthTries)");
      throw error;
    }
    last_ = result;
    co_return result == 0;
  }

  // The agent's socket is local and is asked blockingly: libssh2 has no other way.
  Task<bool> by_agent() {
    std::string path = config_.identity_agent;
    if (path.empty()) path = options_.env("SSH_AUTH_SOCK").value_or("");
    if (path.empty() || path == "none") {
      tried_.emplace_back("agent (none runs)");
      co_return false;
    }
    const std::unique_ptr<LIBSSH2_AGENT, decltype(&libssh2_agent_free)> agent(
        libssh2_agent_init(session_.raw()), &libssh2_agent_free);
    if (!agent) throw Error(ErrorId::internal, "libssh2 cannot be initialised");
    libssh2_agent_set_identity_path(agent.get(), path.c_str());
    if (libssh2_agent_connect(agent.get()) != 0 ||
        libssh2_agent_list_identities(agent.get()) != 0) {
      tried_.push_back(fmt::format("agent (no answer from {})", escaped(path)));
      co_return false;
    }
    const bool in = co_await by_identities(agent.get());
    libssh2_agent_disconnect(agent.get());
    co_return in;
  }

  Task<bool> by_identities(LIBSSH2_AGENT* agent) {
    libssh2_agent_publickey* key = nullptr;
    libssh2_agent_publickey* before = nullptr;
    int refusals = 0;
    while (libssh2_agent_get_identity(agent, &key, before) == 0) {
      before = key;
      const auto call = [&] { return libssh2_agent_userauth(agent, user(), key); };
      const bool in = co_await exchange(call);
      if (in) co_return true;
      ++refusals;
      note_rsa(key_type({reinterpret_cast<const char*>(key->blob), key->blob_len}));
    }
    tried_.push_back(refusals == 0 ? "agent (holds no keys)"
                                   : fmt::format("agent ({} keys refused)", refusals));
    co_return false;
  }

  void note_rsa(const std::string& type) {
    if (type == "ssh-rsa" && LIBSSH2_VERSION_NUM < 0x010b00) rsa_ = true;
  }

  // Keys without a passphrase first: nobody need be asked if one of them is good.
  Task<bool> by_keys() {
    std::vector<std::string> locked;
    for (const std::string& file : config_.identity_files) {
      std::ifstream in(file, std::ios::binary);
      if (!in) {
        if (uri_.keyfile) tried_.push_back(fmt::format("key {} (cannot be read)", escaped(file)));
        continue;
      }
      std::ostringstream content;
      content << in.rdbuf();
      const KeyFileInfo info = inspect_key(content.str());
      if (info.encrypted) {
        locked.push_back(file);
        continue;
      }
      const bool good = co_await by_key(file, "");
      if (good) co_return true;
      note_rsa(info.type);
      tried_.push_back(fmt::format("key {} ({})", escaped(file), refusal()));
    }
    for (const std::string& file : locked) {
      const bool good = co_await by_locked_key(file);
      if (good) co_return true;
    }
    if (locked.empty() && tried_.empty()) tried_.emplace_back("key files (there are none)");
    co_return false;
  }

  Task<bool> by_key(const std::string& file, const std::string& passphrase) {
    const auto call = [&] {
      return libssh2_userauth_publickey_fromfile_ex(session_.raw(), user(), user_size(), nullptr,
                                                    file.c_str(), passphrase.c_str());
    };
    co_return co_await exchange(call);
  }

  Task<bool> by_locked_key(const std::string& file) {
    for (int i = 0; i < kTries; ++i) {
      const std::string question = fmt::format("Passphrase of the key {}: ", escaped(file));
      Question passphrase = co_await ask(question, false);
      if (!passphrase) {
        tried_.push_back(fmt::format("key {} (its passphrase was not given)", escaped(file)));
        co_return false;
      }
      const bool in = co_await by_key(file, *passphrase);
      OPENSSL_cleanse(passphrase->data(), passphrase->size());
      if (in) co_return true;
      // Anything but this: the passphrase is right, or cannot help.
      if (last_ != LIBSSH2_ERROR_FILE && last_ != LIBSSH2_ERROR_KEYFILE_AUTH_FAILED) break;
    }
    tried_.push_back(fmt::format("key {} ({})", escaped(file), refusal()));
    co_return false;
  }

  std::string refusal() const {
    if (last_ == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED || last_ == LIBSSH2_ERROR_AUTHENTICATION_FAILED)
      return "refused";
    return session_.last_error();
  }

  Task<bool> by_password() {
    for (int i = 0; i < kTries; ++i) {
      const std::string question = fmt::format("Password of {}: ", who());
      Question password = co_await ask(question, false);
      if (!password) {
        tried_.emplace_back("password (was not given)");
        co_return false;
      }
      const auto call = [&] {
        return libssh2_userauth_password_ex(session_.raw(), user(), user_size(), password->c_str(),
                                            static_cast<unsigned>(password->size()), nullptr);
      };
      const bool in = co_await exchange(call);
      OPENSSL_cleanse(password->data(), password->size());
      if (in) co_return true;
    }
    tried_.emplace_back("password (refused)");
    co_return false;
  }

  // libssh2 wants the answers while it is being called, and a person cannot be asked there. So the
  // questions are collected by an attempt that fails, asked, and answered in the next attempt.
  Task<bool> by_interaction() {
    SshAnswers answers;
    if (nobody_to_ask()) {
      tried_.emplace_back("keyboard-interactive (nobody to ask)");
      co_return false;
    }
    for (int i = 0; i < kTries + 1; ++i) {
      const auto call = [&] {
        const SshAnswers::Scope scope(answers);
        return libssh2_userauth_keyboard_interactive_ex(session_.raw(), user(), user_size(),
                                                        &SshAnswers::on_questions);
      };
      answers.restart();
      const bool in = co_await exchange(call);
      if (in) co_return true;
      const bool again = co_await answer(answers);
      if (!again) co_return false;
    }
    tried_.emplace_back("keyboard-interactive (refused)");
    co_return false;
  }

  Task<bool> answer(SshAnswers& answers) {
    if (answers.open().empty()) answers.forget();  // all were answered, wrongly: from the start
    for (const SshAnswers::Prompt& prompt : answers.open()) {
      const std::string question = fmt::format("{}: {} ", who(), escaped(prompt.text, 256));
      Question line = co_await ask(question, prompt.echo);
      if (!line) {
        tried_.emplace_back("keyboard-interactive (was not answered)");
        co_return false;
      }
      answers.add(*std::move(line));
    }
    co_return true;
  }

  bool nobody_to_ask() const { return uri_.no_tty || options_.prompter == nullptr; }

  Task<Question> ask(std::string question, bool echo) {
    if (nobody_to_ask()) co_return std::nullopt;
    co_return co_await options_.prompter->ask(std::move(question), echo);
  }

  Error refused() const {
    Error error(ErrorId::auth_needed,
                fmt::format("ssh: {} does not let us in; tried: {}; it accepts: {}", who(),
                            tried_.empty() ? "nothing" : joined(tried_, ", "),
                            escaped(joined(offered_, ", "), 256)));
    error.remedy = fmt::format(
        "Make `ssh {}` work without a password (ssh-copy-id, ssh-agent), or name a key with "
        "?keyfile=.",
        who());
    if (rsa_)
      error.note(fmt::format(
          "libssh2 {} signs with RSA keys as SHA-1 only, which OpenSSH 8.8 and "
          "newer refuse; use an ed25519 key, or install the ssh program, which is used then",
          libssh2_version(0)));
    return error;
  }

  SshSession& session_;
  const ConnectUri& uri_;
  const SshConfig& config_;
  Clock& clock_;
  const DialOptions& options_;
  std::vector<std::string> offered_, tried_;
  long last_ = 0;
  bool rsa_ = false;  // an RSA key was refused by reason of libssh2's age, most likely
};

}  // namespace

Task<SshLogin> ssh_login(SshSession& session, const ConnectUri& uri, const SshConfig& config,
                         Clock& clock, const DialOptions& options) {
  Login login(session, uri, config, clock, options);
  const SshLogin how = co_await login.run();
  co_return how;
}

}  // namespace vmferry
