#include "core/drivers/qmp/domain_devices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/base/text.hpp"

namespace vmferry::qmp {

namespace {

// A comma in a value is written twice in QEMU's options.
std::string quoted(const std::string& value) {
  std::string out;
  for (const char c : value) out += c == ',' ? std::string(",,") : std::string(1, c);
  return out;
}

class Builder {
 public:
  Builder(const xml::Node& root, const xml::Domain& domain) : root_(root), domain_(domain) {}

  DeviceWords build() {
    machine();
    boot();
    clock();
    known_elements();
    for (const xml::Node& device : root_.at("devices").children()) one(device);
    if (!video_) words("-vga", "none");
    if (!graphics_) words("-display", "none");
    return std::move(out_);
  }

 private:
  template <class... W>
  void words(W&&... w) {
    (out_.words.push_back(std::string(std::forward<W>(w))), ...);
  }
  void unsupported(std::string what) { out_.unsupported.push_back(std::move(what)); }

  void machine() {
    const std::string type = domain_.machine.empty() ? "pc" : domain_.machine;
    const bool acpi = root_.at("features") ? bool(root_.at("features/acpi")) : true;
    words("-nodefaults", "-no-user-config", "-machine",
          fmt::format("{},usb=off{}", type, acpi ? "" : ",acpi=off"));
    words("-accel", domain_.type == "kvm" ? "kvm" : "tcg");
    if (domain_.type != "kvm" && domain_.type != "qemu")
      unsupported(fmt::format("type='{}'", escaped(domain_.type, 64)));
    words("-m", fmt::format("{}K", domain_.memory_kib), "-smp",
          fmt::format("{}", std::max(domain_.vcpus, 1U)));
    if (domain_.cpu_mode == "host-passthrough" || domain_.cpu_mode == "maximum")
      words("-cpu", domain_.cpu_mode == "maximum" ? "max" : "host");
    else if (!domain_.cpu_model.empty())
      words("-cpu", domain_.cpu_model);
    else if (!domain_.cpu_mode.empty() && domain_.cpu_mode != "custom")
      unsupported(fmt::format("<cpu mode='{}'>", escaped(domain_.cpu_mode, 64)));
    for (const xml::Node& feature : root_.at("cpu").children("feature"))
      cpu_feature(feature.get("name"), feature.get("policy"));
    if (domain_.hugepages) unsupported("<hugepages>");
  }

  void cpu_feature(const std::string& name, const std::string& policy) {
    if (domain_.cpu_model.empty()) return unsupported("<feature> without a CPU model");
    const bool on = policy.empty() || policy == "require" || policy == "force";
    const bool off = policy == "disable" || policy == "forbid";
    if (on) out_.words.back() += fmt::format(",+{}", name);
    if (off) out_.words.back() += fmt::format(",-{}", name);
    if (!on && !off) unsupported(fmt::format("<feature policy='{}'>", escaped(policy, 64)));
  }

  void boot() {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 3> direct{
        {{"kernel", "-kernel"}, {"initrd", "-initrd"}, {"cmdline", "-append"}}};
    const xml::Node os = root_.at("os");
    for (const auto& [element, option] : direct)
      if (const xml::Node node = os.at(element)) words(option, node.text());
    for (const std::string_view element : {"loader", "nvram"})
      if (os.at(element)) unsupported(fmt::format("<{}>", element));
    std::string order;
    for (const xml::Node& dev : os.children("boot")) {
      const std::string name = dev.get("dev");
      order += name == "hd" ? 'c' : name == "cdrom" ? 'd' : name == "network" ? 'n' : 'a';
    }
    if (!order.empty()) words("-boot", "order=" + order);
  }

  void clock() {
    const std::string offset = root_.at("clock").get("offset");
    if (offset == "localtime")
      words("-rtc", "base=localtime");
    else if (!offset.empty() && offset != "utc")
      unsupported(fmt::format("<clock offset='{}'>", escaped(offset, 64)));
  }

  void known_elements() {
    static constexpr std::array<std::string_view, 19> known{
        "name",    "uuid",          "title",       "description", "metadata",
        "memory",  "currentMemory", "vcpu",        "os",          "features",
        "cpu",     "clock",         "on_poweroff", "on_reboot",   "on_crash",
        "devices", "memoryBacking", "commandline", "pm"};
    for (const xml::Node& child : root_.children())
      if (std::ranges::find(known, child.name()) == known.end())
        unsupported(fmt::format("<{}>", escaped(child.name(), 64)));
  }

  void one(const xml::Node& d) {
    const std::string kind = d.name();
    if (kind == "emulator" || kind == "input" || kind == "audio") return;
    if (kind == "disk") return disk(d);
    if (kind == "interface") return interface(d);
    if (kind == "serial") return serial(d);
    if (kind == "console") return console(d);
    if (kind == "graphics") return graphics(d);
    if (kind == "video") return video(d);
    if (kind == "memballoon") return model_or_none(d, "virtio-balloon-pci");
    if (kind == "rng" && d.get("model") == "virtio") return words("-device", "virtio-rng-pci");
    if (kind == "controller") return controller(d);
    unsupported(fmt::format("<{}>", escaped(kind, 64)));
  }

  void model_or_none(const xml::Node& d, const std::string& device) {
    if (d.get("model") != "none") words("-device", device);
  }

  void controller(const xml::Node& d) {
    const std::string type = d.get("type"), model = d.get("model");
    const bool builtin = type == "pci" || type == "ide" || type == "sata" || type == "fdc" ||
                         (type == "usb" && model == "none");
    if (type == "usb" && model == "qemu-xhci") return words("-device", "qemu-xhci");
    if (!builtin) unsupported(fmt::format("<controller type='{}'>", escaped(type, 64)));
  }

  void disk(const xml::Node& d) {
    const std::string type = d.get("type"), target = d.at("target").get("dev");
    const std::string path = d.at("source").get(type == "block" ? "dev" : "file");
    const std::string bus = d.at("target").get("bus"), device = d.get("device");
    const bool known = (type == "file" || type == "block") &&
                       (bus == "virtio" || bus == "ide" || bus == "sata" || bus.empty()) &&
                       (device.empty() || device == "disk" || device == "cdrom");
    const std::string id = fmt::format("disk{}", disks_++);
    if (!known)
      return unsupported(fmt::format("<disk> {} of type {} on {}", escaped(target, 64),
                                     escaped(type, 64), escaped(bus, 64)));
    const std::string format = d.at("driver").get("type");
    const std::string cache = d.at("driver").get("cache");
    std::string drive = fmt::format("id={},if=none,format={}", id, format.empty() ? "raw" : format);
    if (!path.empty()) drive += ",file=" + quoted(path);
    if (!cache.empty() && cache != "default") drive += ",cache=" + quoted(cache);
    if (d.at("readonly") || device == "cdrom") drive += ",readonly=on";
    if (d.at("shareable")) drive += ",file.locking=off";
    words("-drive", drive, "-device");
    const std::string front = device == "cdrom"                ? "ide-cd"
                              : bus == "virtio" || bus.empty() ? "virtio-blk-pci"
                                                               : "ide-hd";
    const std::string order = d.at("boot").get("order");
    words(fmt::format("{},drive={},id=dev-{}{}{}", front, id, id,
                      order.empty() ? "" : ",bootindex=", quoted(order)));
  }

  void interface(const xml::Node& d) {
    const std::string type = d.get("type"), id = fmt::format("net{}", nets_++);
    if (type == "user")
      words("-netdev", "user,id=" + id);
    else if (type == "bridge")
      words("-netdev", fmt::format("bridge,id={},br={}", id, quoted(d.at("source").get("bridge"))));
    else
      return unsupported(fmt::format("<interface type='{}'>", escaped(type, 64)));
    const std::string model = d.at("model").get("type"), mac = d.at("mac").get("address");
    const std::string device = model == "virtio" ? "virtio-net-pci"
                               : model.empty()   ? "rtl8139"
                                                 : model;
    words("-device", fmt::format("{},netdev={}{}{}", quoted(device), id,
                                 mac.empty() ? "" : ",mac=", quoted(mac)));
  }

  // Returns the words of the character device, or nothing.
  std::string character(const xml::Node& d, const std::string& id) {
    const std::string type = d.get("type"), path = d.at("source").get("path");
    if (type == "pty" || type == "null" || type == "stdio")
      return fmt::format("{},id={}", type, id);
    if (type == "file")
      return fmt::format("file,id={},path={},append={}", id, quoted(path),
                         d.at("source").get("append") == "on" ? "on" : "off");
    if (type == "unix")
      return fmt::format(
          "socket,id={},path={},{}", id, quoted(path),
          d.at("source").get("mode") == "connect" ? "server=off" : "server=on,wait=off");
    return {};
  }

  void serial(const xml::Node& d) {
    const std::string id = fmt::format("serial{}", serials_++), chardev = character(d, id);
    if (chardev.empty())
      return unsupported(fmt::format("<serial type='{}'>", escaped(d.get("type"), 64)));
    words("-chardev", chardev, "-serial", "chardev:" + id);
  }

  // libvirt repeats the first serial port as a console.
  void console(const xml::Node& d) {
    const std::string target = d.at("target").get("type");
    if (target.empty() || target == "serial") {
      if (serials_ == 0 && root_.at("devices").children("serial").empty()) serial(d);
      return;
    }
    unsupported(fmt::format("<console> of type {}", escaped(target, 64)));
  }

  void graphics(const xml::Node& d) {
    graphics_ = true;
    const std::string port = d.get("port"), socket = d.get("socket");
    if (d.get("type") != "vnc")
      return unsupported(fmt::format("<graphics type='{}'>", escaped(d.get("type"), 64)));
    if (!socket.empty()) return words("-vnc", "unix:" + quoted(socket));
    const std::string listen = d.get("listen").empty() ? "127.0.0.1" : d.get("listen");
    const auto number = parse_number<int>(port);
    if (!number || *number < 5900)
      words("-vnc", fmt::format("{}:0,to=99", quoted(listen)));
    else
      words("-vnc", fmt::format("{}:{}", quoted(listen), *number - 5900));
  }

  void video(const xml::Node& d) {
    const std::string type = d.at("model").get("type");
    video_ = true;
    if (type == "none")
      words("-vga", "none");
    else if (type == "vga" || type == "cirrus" || type == "virtio" || type == "qxl")
      words("-vga", type == "vga" ? "std" : type);
    else
      unsupported(fmt::format("<video> {}", escaped(type, 64)));
  }

  xml::Node root_;
  const xml::Domain& domain_;
  DeviceWords out_;
  int disks_ = 0, nets_ = 0, serials_ = 0;
  bool video_ = false, graphics_ = false;
};

}  // namespace

DeviceWords device_words(const xml::Node& root, const xml::Domain& domain) {
  return Builder(root, domain).build();
}

}  // namespace vmferry::qmp
