//! The oracle: one output after the other.

use super::{BOUND, Epilogue, SumBlock, Target};

/// Writes the outputs of a block.
///
/// # Safety
/// As for [`Epilogue::run`].
pub(super) unsafe fn run(epilogue: &Epilogue, block: &SumBlock) {
    let (multiplier, bias) = (epilogue.multiplier(), epilogue.bias());
    for row in 0..block.rows {
        for column in 0..block.columns {
            let channel = block.channel + column;
            // SAFETY: the caller grants these rows and columns; parameters exist for every channel.
            unsafe {
                let sum = *block.sums.add(row * block.sums_stride + column);
                let mut f = (sum as f32).mul_add(*multiplier.add(channel), *bias.add(channel));
                if let Some(residual) = &epilogue.residual {
                    let r = *block.residual.add(row * block.residual_stride + column);
                    let r = f32::from(i16::from(r) - i16::from(residual.zero_point));
                    f = r.mul_add(residual.scale, f);
                }
                let at = row * block.out_stride + column;
                match &epilogue.target {
                    Target::Float { low, high, .. } => {
                        // Written so that NaN becomes the lower bound, as vector instructions have it.
                        let f = if f > *low { f } else { *low };
                        *block.out.cast::<f32>().add(at) = if f < *high { f } else { *high };
                    }
                    Target::Bytes(bytes) => {
                        let v = if f > -BOUND { f } else { -BOUND };
                        let v = if v < BOUND { v } else { BOUND };
                        let q = v.round_ties_even() as i32 + i32::from(bytes.zero_point);
                        let q = (q.clamp(0, 255) as u8).max(bytes.low).min(bytes.high);
                        *block.out.add(at) = match &bytes.table {
                            Some(table) => table.values()[usize::from(q)],
                            None => q,
                        };
                    }
                }
            }
        }
    }
}
