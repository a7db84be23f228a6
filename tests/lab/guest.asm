; A guest without an operating system: 32-bit code in a multiboot image that counts on its serial
; port, one line of eight hex digits a tick, and writes to a set number of memory pages each tick.
; If told to, it looks before each write whether the page holds what was written there last, and
; writes the count to a sector of the first IDE disk. Without that, everything that changes lives in
; registers and in the pages named below. The interrupt frame on
; the stack is always the same, so a lost write to it could not be noticed either.
;
;   ebx counter   esi next page to write   edi end of the pages   ebp pages to write each tick
        bits 32
        org 0x100000
MAGIC   equ 0x1badb002
FLAGS   equ 0x10000                     ; load addresses are given here, the file is not an ELF
COM1    equ 0x3f8
PAGES   equ 0x200000                    ; first page that is written

base:   dd MAGIC, FLAGS, -(MAGIC + FLAGS)
        dd base, base, 0, 0, start
; patched by guest.py, found by the word before them
        db "VMFG"
fill:   dd 0                            ; pages made non-zero at start
rate:   dd 0                            ; pages written each tick
divisor:dd 23864                        ; ticks of 1193182 Hz between two lines: 50 lines a second
check:  dd 0                            ; 1: what is found before a write is compared
disk:   dd 0                            ; sectors of the disk that are written in turn, a power of 2

again:  dd 0                            ; every page has been written
past:   dd 0                            ; tick and number of the write one round ago
past_n: dd 0

%macro  outb 2
        mov dx, %1
        mov al, %2
        out dx, al
%endmacro

start:  cli
        cld
        mov esp, 0x90000
        lgdt [gdtr]
        jmp 8:flat
flat:   mov ax, 16
        mov ds, ax
        mov es, ax
        mov ss, ax
        lidt [idtr]
        outb 0x20, 0x11                 ; interrupt controllers: timer at vector 0x20, rest masked
        outb 0xa0, 0x11
        outb 0x21, 0x20
        outb 0xa1, 0x28
        outb 0x21, 4
        outb 0xa1, 2
        outb 0x21, 1
        outb 0xa1, 1
        outb 0x21, 0xfe
        outb 0xa1, 0xff
        outb 0x43, 0x34                 ; timer 0, mode 2
        mov eax, [divisor]
        out 0x40, al
        mov al, ah
        out 0x40, al
        outb COM1 + 1, 0                ; 115200 8N1, FIFO on, no interrupts
        outb COM1 + 3, 0x80
        outb COM1, 1
        outb COM1 + 1, 0
        outb COM1 + 3, 3
        outb COM1 + 2, 7
        mov edi, [fill]
        shl edi, 12
        add edi, PAGES
        mov ebp, [rate]
        mov esi, PAGES
.fill:  cmp esi, edi
        jae .ready
        mov [esi], esi
        add esi, 4096
        jmp .fill
.ready: mov esi, PAGES
        xor ebx, ebx

tick:   sti                             ; interrupts come in only while the CPU sleeps
        hlt
        cli
        mov ecx, ebp
        jecxz print
.dirty: cmp esi, edi
        jb  .write
        mov esi, PAGES
        mov dword [again], 1
.write: cmp dword [check], 0
        je  .store
        cmp [esi], esi
        jne .bad
        cmp dword [again], 0
        je  .store
        mov eax, [past]
        inc dword [past_n]
        cmp [past_n], ebp
        jb  .look
        mov dword [past_n], 0
        inc dword [past]
.look:  cmp [esi + 8], eax
        je  .store
.bad:   mov al, '!'                     ; spoils the line, which is how it is told
        call putc
.store: mov [esi + 8], ebx
        add esi, 4096
        loop .dirty
print:  cmp dword [disk], 0
        je  line
        call sector
line:   mov ecx, 8
.digit: rol ebx, 4
        mov al, bl
        and al, 15
        add al, '0'
        cmp al, '9'
        jbe .put
        add al, 'a' - '9' - 1
.put:   call putc
        loop .digit
        mov al, 10
        call putc
        inc ebx
        jmp tick

putc:   mov ah, al
        mov dx, COM1 + 5
.wait:  in al, dx
        test al, 0x20
        jz .wait
        mov al, ah
        mov dx, COM1
        out dx, al
        ret

; One sector full of ebx, by programmed I/O. It sleeps while the one before is being written: who
; asks all the time keeps QEMU from doing so.
sector: mov dx, 0x1f7
.busy:  in al, dx
        test al, 0x80
        jz .idle
        sti
        hlt
        cli
        jmp .busy
.idle:  mov ecx, [disk]
        dec ecx
        and ecx, ebx
        outb 0x1f6, 0xe0
        outb 0x1f2, 1
        inc dx
        mov al, cl
        out dx, al
        inc dx
        mov al, ch
        out dx, al
        outb 0x1f5, 0
        outb 0x1f7, 0x30
.ready: in al, dx
        test al, 8
        jz .ready
        mov dx, 0x1f0
        mov ecx, 128
        mov eax, ebx
.word:  out dx, eax
        loop .word
        ret

irq0:   mov al, 0x20
        out 0x20, al
        iret

        align 8
gdt:    dq 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr:   dw 23
        dd gdt
idt:    times 0x20 dq 0
        dw (irq0 - $$ + 0x100000) & 0xffff, 8, 0x8e00, (irq0 - $$ + 0x100000) >> 16
idtr:   dw idtr - idt - 1
        dd idt
