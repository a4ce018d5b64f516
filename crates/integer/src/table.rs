//! A function of bytes, as a table of 256.

use vedette_simd::Isa;

/// A table, and how a level looks bytes up in it.
#[derive(Clone)]
pub(crate) struct Table {
    values: [u8; 256],
    run: LookupFn,
    #[cfg(target_arch = "x86_64")]
    in_registers: bool,
}

impl Table {
    pub(crate) fn new(isa: Isa, values: [u8; 256]) -> Table {
        Table {
            values,
            run: kernel_of(isa),
            #[cfg(target_arch = "x86_64")]
            in_registers: x86::fits_registers(isa),
        }
    }

    /// The values.
    pub(crate) fn values(&self) -> &[u8; 256] {
        &self.values
    }

    /// Whether the level looks up in registers.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn fits_registers(&self) -> bool {
        self.in_registers
    }

    /// `to[i] = table[x[i]]`
    ///
    /// # Safety
    /// `n` bytes are readable at `x` and writable at `to`, which may be the same memory.
    #[inline(always)]
    pub(crate) unsafe fn apply(&self, x: *const u8, to: *mut u8, n: usize) {
        // SAFETY: as granted by the caller; the function was chosen for this CPU.
        unsafe { (self.run)(&self.values, x, to, n) }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Table").field(&self.values).finish()
    }
}

/// Looks `n` bytes up, in place if the pointers are the same.
type LookupFn = unsafe fn(&[u8; 256], *const u8, *mut u8, usize);

/// The fastest form for a level.
fn kernel_of(isa: Isa) -> LookupFn {
    #[cfg(target_arch = "x86_64")]
    {
        if x86::fits_registers(isa) {
            return x86::lookup_vbmi;
        }
        if isa.level() >= vedette_simd::Level::Avx2 {
            return x86::lookup_avx2;
        }
    }
    let _ = isa;
    scalar
}

/// # Safety
/// `n` bytes are readable at `x` and writable at `to`.
unsafe fn scalar(table: &[u8; 256], x: *const u8, to: *mut u8, n: usize) {
    for i in 0..n {
        // SAFETY: i < n.
        unsafe { to.add(i).write(table[usize::from(x.add(i).read())]) }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use super::Table;
    use std::arch::asm;
    use std::arch::x86_64::*;
    use vedette_simd::{Isa, Level, features};

    /// Whether a level may use [`InRegisters`].
    pub(super) fn fits_registers(isa: Isa) -> bool {
        isa.level() == Level::Avx512 && features().avx512_vbmi
    }

    /// A table in four registers.
    #[derive(Clone, Copy)]
    pub(crate) struct InRegisters([__m512i; 4]);

    impl InRegisters {
        /// Loads the table, zeros where there is none.
        ///
        /// # Safety
        /// The CPU has AVX-512 F.
        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(crate) unsafe fn of(table: Option<&Table>) -> InRegisters {
            // SAFETY: as granted by the caller.
            unsafe { InRegisters::load(table.map_or(&[0; 256], Table::values)) }
        }

        /// # Safety
        /// The CPU has AVX-512 F.
        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn load(table: &[u8; 256]) -> InRegisters {
            // SAFETY: quarters of the table.
            InRegisters(std::array::from_fn(|i| unsafe {
                _mm512_loadu_si512(table.as_ptr().add(64 * i).cast())
            }))
        }

        /// The table's values for 64 bytes.
        ///
        /// # Safety
        /// The CPU has AVX-512 F, BW and VBMI.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        pub(crate) unsafe fn take(&self, x: __m512i) -> __m512i {
            // Seven bits choose within two quarters, the eighth which two. As an intrinsic the instruction could not be
            // inlined into functions of CPUs that lack it.
            let choose = |low: __m512i, high: __m512i| {
                let mut chosen = x;
                // SAFETY: the caller's CPU has the instruction, which touches registers only.
                unsafe {
                    asm!(
                        "vpermi2b {chosen}, {low}, {high}",
                        chosen = inout(zmm_reg) chosen, low = in(zmm_reg) low, high = in(zmm_reg) high,
                        options(pure, nomem, nostack, preserves_flags),
                    );
                }
                chosen
            };
            let InRegisters([a, b, c, d]) = *self;
            _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), choose(a, b), choose(c, d))
        }
    }

    /// # Safety
    /// As for the scalar form, on a CPU with AVX-512 VBMI.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn lookup_vbmi(table: &[u8; 256], x: *const u8, to: *mut u8, n: usize) {
        // SAFETY: the masks keep to the n bytes; the CPU is the caller's promise.
        unsafe {
            let table = InRegisters::load(table);
            let mut i = 0;
            while i + 64 <= n {
                _mm512_storeu_si512(to.add(i).cast(), table.take(_mm512_loadu_si512(x.add(i).cast())));
                i += 64;
            }
            if i < n {
                let mask = u64::MAX >> (64 - (n - i));
                let x = _mm512_maskz_loadu_epi8(mask, x.add(i).cast());
                _mm512_mask_storeu_epi8(to.add(i).cast(), mask, table.take(x));
            }
        }
    }

    /// # Safety
    /// As for the scalar form, on a CPU with AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn lookup_avx2(table: &[u8; 256], x: *const u8, to: *mut u8, n: usize) {
        let mut i = 0;
        if n >= 32 {
            // A shuffle gives 0 for bytes of 128 and more, and otherwise looks at the low four bits, which taking 16
            // away does not change. So entry k holds row k of the table differing from row k - 1: what is left
            // after the last row that counts is the row itself.
            let mut rows = [_mm256_setzero_si256(); 16];
            for (k, row) in rows.iter_mut().enumerate() {
                // SAFETY: 16 bytes of the table.
                let at = |k: usize| unsafe {
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().add(16 * k).cast()))
                };
                *row = if k % 8 == 0 { at(k) } else { _mm256_xor_si256(at(k), at(k - 1)) };
            }
            let step = _mm256_set1_epi8(16);
            let half = |mut x: __m256i, rows: &[__m256i]| {
                let mut sum = _mm256_shuffle_epi8(rows[0], x);
                for &row in &rows[1..] {
                    x = _mm256_subs_epi8(x, step);
                    sum = _mm256_xor_si256(sum, _mm256_shuffle_epi8(row, x));
                }
                sum
            };
            while i + 32 <= n {
                // SAFETY: 32 bytes within the n.
                unsafe {
                    let x = _mm256_loadu_si256(x.add(i).cast());
                    let low = half(x, &rows[..8]);
                    let high = half(_mm256_xor_si256(x, _mm256_set1_epi8(i8::MIN)), &rows[8..]);
                    _mm256_storeu_si256(to.add(i).cast(), _mm256_or_si256(low, high));
                }
                i += 32;
            }
        }
        // SAFETY: the bytes left.
        unsafe { super::scalar(table, x.add(i), to.add(i), n - i) }
    }
}
