//! Bytes through a table: any function of one quantised value.

use crate::table::Table;
use vedette_simd::Isa;
use vedette_tensor::DType;
use vedette_tensor::elementwise::Kernel;

/// `table[x]`: operands are the output and x.
pub fn lookup(isa: Isa, table: [u8; 256]) -> Kernel<2> {
    let table = Table::new(isa, table);
    let rows = move |[to, x]: [*mut u8; 2], n: usize| {
        // SAFETY: the kernel's contract grants n bytes at each pointer.
        unsafe { table.apply(x, to, n) }
    };
    // SAFETY: as above, only the n bytes are accessed.
    unsafe { Kernel::new([DType::U8; 2], rows) }
}

/// Elements computed before they are looked up, while they are in cache.
const BLOCK: usize = 4096;

/// A kernel whose results, bytes, are looked up in a table.
pub fn with_table<const N: usize>(isa: Isa, kernel: Kernel<N>, table: [u8; 256]) -> Kernel<N> {
    let table = Table::new(isa, table);
    let dtypes = kernel.dtypes();
    assert_eq!(dtypes[0], DType::U8);
    let rows = move |pointers: [*mut u8; N], n: usize| {
        for start in (0..n).step_by(BLOCK) {
            let len = BLOCK.min(n - start);
            let at = std::array::from_fn(|k| pointers[k].wrapping_add(start * dtypes[k].size()));
            // SAFETY: the block is within the n elements that the kernel's contract grants.
            unsafe {
                kernel.run_raw(at, len);
                table.apply(at[0], at[0], len);
            }
        }
    };
    // SAFETY: as above, only the n elements are accessed.
    unsafe { Kernel::new(dtypes, rows) }
}
