#pragma once
#include <libssh2.h>

#include <string>
#include <vector>

namespace vmferry {

/// The questions and answers of keyboard-interactive authentication (RFC 4256), over any number of
/// rounds. Questions beyond the answers at hand get an empty answer and stay open.
class SshAnswers {
 public:
  struct Prompt {
    std::string text;
    bool echo = false;
  };

  /// While it lives, on_questions() asks these answers. Not to be held while suspended.
  class Scope {
   public:
    explicit Scope(SshAnswers& answers);
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope();
  };

  SshAnswers() = default;
  SshAnswers(const SshAnswers&) = delete;
  SshAnswers& operator=(const SshAnswers&) = delete;
  ~SshAnswers();

  void restart();  ///< before each attempt
  void add(std::string answer) { given_.push_back(std::move(answer)); }
  void forget();  ///< the answers were wrong: the first questions are open again
  const std::vector<Prompt>& open() const { return open_; }

  /// At most 16 questions are answered in a round.
  static LIBSSH2_USERAUTH_KBDINT_RESPONSE_FUNC(on_questions);

 private:
  std::string answer(const Prompt& prompt);
  std::vector<std::string> given_;
  std::vector<Prompt> open_, asked_;
  std::size_t next_ = 0;
};

}  // namespace vmferry
