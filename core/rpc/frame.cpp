#include "core/rpc/frame.hpp"

#include <fmt/format.h>

namespace vmferry::rpc {

Result<Bytes> pack(const Header& header, std::span<const std::byte> payload) {
  if (payload.size() > kPacketMax - kPacketMin)
    return fail(ErrorId::unsupported, "a message above the protocol's 32 MiB");
  Bytes out;
  out.reserve(kPacketMin + payload.size());
  xdr::Writer w(out);
  w.word(static_cast<std::uint32_t>(kPacketMin + payload.size()));
  xdr::put(w, header);
  out.insert(out.end(), payload.begin(), payload.end());  // stream data is not padded
  return out;
}

void Assembler::feed(std::span<const std::byte> bytes) {
  if (at_ > 0 && at_ >= buffer_.size() / 2) {  // move what is left once it is the smaller part
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ = 0;
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

static std::string shown(std::span<const std::byte> bytes) {
  std::string out;
  for (const std::byte b : bytes.first(std::min<std::size_t>(bytes.size(), 40))) {
    const auto c = std::to_integer<unsigned char>(b);
    if (c >= 0x20 && c < 0x7f)
      out += static_cast<char>(c);
    else
      out += fmt::format("\\x{:02x}", c);
  }
  return out;
}

Result<std::optional<Packet>> Assembler::next() {
  const auto rest = std::span<const std::byte>(buffer_).subspan(at_);
  if (rest.size() < 4) return std::nullopt;
  const std::uint32_t length = xdr::Reader(rest).word();
  if (length < kPacketMin || length > kPacketMax) {
    if (any_) return fail(ErrorId::protocol, fmt::format("a packet of {} bytes", length));
    const std::string_view who = recognise(rest);
    if (!who.empty())
      return fail(ErrorId::connect_protocol,
                  fmt::format("{} answered, not a libvirt daemon: \"{}\"", who, shown(rest)));
    return fail(ErrorId::connect_protocol,
                fmt::format("not libvirt's protocol: \"{}\"", shown(rest)));
  }
  if (rest.size() < length) return std::nullopt;
  auto header = xdr::decode<Header>(rest.subspan(4, kHeaderSize));
  if (!header) return std::unexpected(std::move(header).error());
  const auto payload = rest.subspan(kPacketMin, length - kPacketMin);
  Packet packet{*header, Bytes(payload.begin(), payload.end())};
  at_ += length;
  any_ = true;
  return packet;
}

std::string_view recognise(std::span<const std::byte> first_bytes) {
  struct Known {
    std::string_view start, name;
  };
  static constexpr Known known[] = {
      {"SSH-", "an ssh server"},
      {"HTTP", "a web server"},
      {"\x15\x03", "a TLS server (qemu+tls?)"},
      {"\x16\x03", "a TLS server (qemu+tls?)"},
      {"RFB ", "a VNC server"},
      {"{\"QM", "QEMU's own monitor"},
      {"220 ", "a mail or file server"},
      {"REDQ", "a SPICE server"},
  };
  for (const Known& k : known) {
    if (first_bytes.size() < k.start.size()) continue;
    const bool same =
        std::equal(k.start.begin(), k.start.end(), first_bytes.begin(),
                   [](char c, std::byte b) { return static_cast<std::byte>(c) == b; });
    if (same) return k.name;
  }
  return {};
}

}  // namespace vmferry::rpc
