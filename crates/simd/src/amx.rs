//! Whether tile registers may be used. The standard library does not say on stable Rust, and on Linux a process has to
//! ask: the kernel keeps the 8 KB of tiles of a thread only for processes that were granted them.

use std::arch::x86_64::{__cpuid, __cpuid_count};

/// Whether the CPU has AMX-INT8 and the system lets this process use it; asks the system where it has to.
pub(crate) fn is_usable() -> bool {
    cpu_has_amx_int8() && system_keeps_tiles() && is_granted()
}

/// Leaf 7: AMX-TILE is bit 24 of EDX, AMX-INT8 bit 25.
fn cpu_has_amx_int8() -> bool {
    const WANTED: u32 = 1 << 24 | 1 << 25;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & WANTED == WANTED
}

/// Leaf 7: AMX-BF16 is bit 22 of EDX.
pub(crate) fn cpu_has_bf16() -> bool {
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & 1 << 22 != 0
}

/// Bits 17 and 18 of XCR0: tile configuration and tile data.
fn system_keeps_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILES: u32 = 0b11 << 17;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let low: u32;
    // SAFETY: the instruction exists where OSXSAVE is set, and only reads a register.
    unsafe {
        std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _, options(nomem, nostack));
    }
    low & TILES == TILES
}

#[cfg(target_os = "linux")]
fn is_granted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let result: i64;
    // SAFETY: arch_prctl with these arguments changes nothing but what the process may use. The system call overwrites
    // rcx and r11.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn is_granted() -> bool {
    false
}
