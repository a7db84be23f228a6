#pragma once
#include <algorithm>
#include <array>
#include <string>

namespace vmferry {

/// A guest of one sector: writes a growing number, eight hex digits a line, to the first serial
/// port at each BIOS tick (18 a second). 16-bit code for org 0x7c00:
///
///   xor ax,ax; mov ds,ax; mov ss,ax; mov sp,7c00h; xor ebx,ebx
///   line:  mov cx,8; mov edx,ebx
///   digit: rol edx,4; mov al,dl; and al,15; add al,'0'; cmp al,'9'; jbe put; add al,39
///   put:   call send; loop digit; mov al,10; call send; inc ebx; mov ax,[46ch]
///   wait:  sti; hlt; cmp ax,[46ch]; je wait; jmp line
///   send:  push dx; mov dx,3f8h; out dx,al; pop dx; ret
inline std::string boot_sector() {
  static constexpr std::array<unsigned char, 66> code = {
      0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0x66, 0x31, 0xdb, 0xb9, 0x08,
      0x00, 0x66, 0x89, 0xda, 0x66, 0xc1, 0xc2, 0x04, 0x88, 0xd0, 0x24, 0x0f, 0x04, 0x30,
      0x3c, 0x39, 0x76, 0x02, 0x04, 0x27, 0xe8, 0x16, 0x00, 0xe2, 0xeb, 0xb0, 0x0a, 0xe8,
      0x0f, 0x00, 0x66, 0x43, 0xa1, 0x6c, 0x04, 0xfb, 0xf4, 0x3b, 0x06, 0x6c, 0x04, 0x74,
      0xf8, 0xeb, 0xd1, 0x52, 0xba, 0xf8, 0x03, 0xee, 0x5a, 0xc3,
  };
  std::string image(1 << 20, '\0');
  std::copy(code.begin(), code.end(), image.begin());
  image[510] = '\x55';
  image[511] = '\xaa';
  return image;
}

}  // namespace vmferry
