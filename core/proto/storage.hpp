#pragma once
// Storage volumes, networks and secrets, as far as a guest's needs are looked up on a host.
#include "core/proto/common.hpp"

namespace vmferry::proto {

/// remote_nonnull_storage_vol
struct Volume {
  Str pool, name, key;
  static auto fields(auto& s) { return std::tie(s.pool, s.name, s.key); }
};
struct VolumeArgs {
  Volume vol;
  static auto fields(auto& s) { return std::tie(s.vol); }
};
struct VolumeFlagsArgs {
  Volume vol;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.vol, s.flags); }
};
struct VolumeRet {
  Volume vol;
  static auto fields(auto& s) { return std::tie(s.vol); }
};
struct VolumeInfoRet {
  std::int8_t type = 0;  ///< 0 file, 1 block, 2 dir, 3 network, 4 netdir, 5 ploop
  std::uint64_t capacity = 0, allocation = 0;  // bytes
  static auto fields(auto& s) { return std::tie(s.type, s.capacity, s.allocation); }
};
struct PoolsRet {
  xdr::List<Named, kListMax> pools;
  std::uint32_t ret = 0;
  static auto fields(auto& s) { return std::tie(s.pools, s.ret); }
};
struct PoolInfoRet {
  std::uint8_t state = 0;  ///< 0 inactive, 1 building, 2 running, 3 degraded, 4 inaccessible
  std::uint64_t capacity = 0, allocation = 0, available = 0;  // bytes
  static auto fields(auto& s) { return std::tie(s.state, s.capacity, s.allocation, s.available); }
};
struct PoolVolumeListArgs {
  Named pool;
  bool need_results = true;
  std::uint32_t flags = 0;
  static auto fields(auto& s) { return std::tie(s.pool, s.need_results, s.flags); }
};
struct VolumesRet {
  xdr::List<Volume, kListMax> vols;
  std::uint32_t ret = 0;
  static auto fields(auto& s) { return std::tie(s.vols, s.ret); }
};
struct NamedArgs {
  Named object;
  static auto fields(auto& s) { return std::tie(s.object); }
};
struct Secret {
  WireUuid uuid;
  std::int32_t usage_type = 0;
  Str usage;
  static auto fields(auto& s) { return std::tie(s.uuid, s.usage_type, s.usage); }
};
struct SecretRet {
  Secret secret;
  static auto fields(auto& s) { return std::tie(s.secret); }
};

using StorageVolLookupByPath = Procedure<97, "STORAGE_VOL_LOOKUP_BY_PATH", TextArgs, VolumeRet>;
using StorageVolGetInfo = Procedure<98, "STORAGE_VOL_GET_INFO", VolumeArgs, VolumeInfoRet>;
using StorageVolGetXmlDesc = Procedure<99, "STORAGE_VOL_GET_XML_DESC", VolumeFlagsArgs, TextRet>;
using StoragePoolCreateXml = Procedure<76, "STORAGE_POOL_CREATE_XML", TextFlagsArgs, NamedRet>;
using StoragePoolDestroy = Procedure<80, "STORAGE_POOL_DESTROY", NamedArgs, Void>;
using StoragePoolRefresh = Procedure<83, "STORAGE_POOL_REFRESH", NamedFlagsArgs, Void>;
using StoragePoolGetInfo = Procedure<87, "STORAGE_POOL_GET_INFO", NamedArgs, PoolInfoRet>;
using StoragePoolGetXmlDesc = Procedure<88, "STORAGE_POOL_GET_XML_DESC", NamedFlagsArgs, TextRet>;
using StoragePoolLookupByName = Procedure<84, "STORAGE_POOL_LOOKUP_BY_NAME", TextArgs, NamedRet>;
using ConnectListAllStoragePools =
    Procedure<281, "CONNECT_LIST_ALL_STORAGE_POOLS", ListArgs, PoolsRet>;
using StoragePoolListAllVolumes =
    Procedure<282, "STORAGE_POOL_LIST_ALL_VOLUMES", PoolVolumeListArgs, VolumesRet>;
using NetworkLookupByName = Procedure<46, "NETWORK_LOOKUP_BY_NAME", TextArgs, NamedRet>;
using NetworkGetXmlDesc = Procedure<43, "NETWORK_GET_XML_DESC", NamedFlagsArgs, TextRet>;
using NetworkGetBridgeName = Procedure<45, "NETWORK_GET_BRIDGE_NAME", NamedArgs, TextRet>;
using NetworkIsActive = Procedure<152, "NETWORK_IS_ACTIVE", NamedArgs, BoolRet>;
using SecretLookupByUuid = Procedure<141, "SECRET_LOOKUP_BY_UUID", UuidArgs, SecretRet>;

}  // namespace vmferry::proto
