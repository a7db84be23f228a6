#include "transports/ssh/answers.hpp"

#include <openssl/crypto.h>

#include <cstdlib>
#include <cstring>

namespace vmferry {

// The session's own pointer belongs to SshSession, and libssh2 offers no other way into the call.
// Set for the length of one call that does not suspend, in a program of one thread.
static SshAnswers* current = nullptr;

SshAnswers::Scope::Scope(SshAnswers& answers) { current = &answers; }
SshAnswers::Scope::~Scope() { current = nullptr; }

SshAnswers::~SshAnswers() {
  for (std::string& text : given_) OPENSSL_cleanse(text.data(), text.size());
}

void SshAnswers::restart() {
  next_ = 0;
  open_.clear();
  asked_.clear();
}

void SshAnswers::forget() {
  given_.clear();
  open_ = asked_;
}

std::string SshAnswers::answer(const Prompt& prompt) {
  asked_.push_back(prompt);
  if (next_ < given_.size()) return given_[next_++];
  open_.push_back(prompt);
  return {};
}

void SshAnswers::on_questions(const char*, int, const char*, int, int count,
                              const LIBSSH2_USERAUTH_KBDINT_PROMPT* prompts,
                              LIBSSH2_USERAUTH_KBDINT_RESPONSE* responses, void**) {
  static constexpr int kMost = 16;
  for (int i = 0; i < count; ++i) {
    responses[i] = {nullptr, 0};
    if (current == nullptr || i >= kMost) continue;
    const Prompt prompt{{prompts[i].text, prompts[i].length}, prompts[i].echo != 0};
    const std::string text = current->answer(prompt);
    responses[i].text = ::strdup(text.c_str());  // libssh2 frees it
    responses[i].length = static_cast<unsigned>(text.size());
  }
}

}  // namespace vmferry
