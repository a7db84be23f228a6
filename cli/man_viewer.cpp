#include "cli/man_viewer.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace vmferry::cli {

namespace {

// Runs `man` to its end; its exit status, or -1. Nothing else is going on in this process, so the
// wait may block, however long a person reads.
int run_man(const char* option, const std::string& page, bool silent) {
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0) return -1;
  if (silent)
    for (const int fd : {0, 1, 2})
      posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  std::string name = "man", last = page, flag = option;
  char* argv[] = {name.data(), flag.empty() ? last.data() : flag.data(),
                  flag.empty() ? nullptr : last.data(), nullptr};
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, "man", &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return -1;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

bool show_man_page(const std::string& page) {
  return run_man("-w", page, true) == 0 && run_man("", page, false) == 0;
}

}  // namespace vmferry::cli
