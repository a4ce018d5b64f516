use std::sync::OnceLock;

/// The instruction-set levels kernels are built for, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Portable code, the oracle of every kernel.
    Scalar,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL, on top of AVX2.
    Avx512,
}

impl Level {
    /// The name used by `VEDETTE_ISA` and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }
}

/// A level this CPU has. It cannot be made for a level the CPU lacks, which is what makes dispatch sound.
///
/// `amx` is the level [`Level::Avx512`] with the permission to use tile registers as well: few kernels care, and for
/// all others it is the same level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa {
    level: Level,
    tiles: bool,
}

impl Isa {
    /// The portable level, present everywhere.
    pub const SCALAR: Isa = Isa { level: Level::Scalar, tiles: false };

    /// The level, if this CPU has it.
    pub fn new(level: Level) -> Option<Isa> {
        let cpu = features();
        let present = match level {
            Level::Scalar => true,
            Level::Avx2 => cpu.avx2,
            Level::Avx512 => cpu.avx512,
        };
        present.then_some(Isa { level, tiles: false })
    }

    /// The level `avx512` with tile registers, if this CPU has both and the system lets the process use them.
    pub fn with_tiles() -> Option<Isa> {
        let cpu = features();
        (cpu.avx512 && cpu.amx_int8).then_some(Isa { level: Level::Avx512, tiles: true })
    }

    /// The level of that name, if this CPU has it.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::available().into_iter().find(|isa| isa.name() == name)
    }

    /// Every level of this CPU, weakest first.
    pub fn available() -> Vec<Isa> {
        let levels = [Level::Scalar, Level::Avx2, Level::Avx512].into_iter().filter_map(Isa::new);
        levels.chain(Isa::with_tiles()).collect()
    }

    /// Which level of vector instructions this is.
    #[inline]
    pub fn level(self) -> Level {
        self.level
    }

    /// Whether kernels may use the tile registers of AMX, for bytes at least.
    #[inline]
    pub fn has_tiles(self) -> bool {
        self.tiles
    }

    /// Whether kernels may use the bfloat16 instructions of AVX-512.
    #[inline]
    pub fn has_bf16(self) -> bool {
        self.level >= Level::Avx512 && features().avx512_bf16
    }

    /// Whether kernels may use the tile registers of AMX for bfloat16.
    #[inline]
    pub fn has_bf16_tiles(self) -> bool {
        self.tiles && self.has_bf16() && features().amx_bf16
    }

    /// The level's name.
    pub fn name(self) -> &'static str {
        if self.tiles { "amx" } else { self.level.name() }
    }
}

/// What this CPU has, read once.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuFeatures {
    /// AVX2, FMA and F16C.
    pub avx2: bool,
    /// AVX-512 F, BW, DQ and VL.
    pub avx512: bool,
    /// AVX-512 VNNI (`vpdpbusd`).
    pub avx512_vnni: bool,
    /// AVX-512 VBMI (`vpermi2b`).
    pub avx512_vbmi: bool,
    /// AVX-512 BF16 (`vdpbf16ps`).
    pub avx512_bf16: bool,
    /// AVX-VNNI, the 256-bit form without AVX-512.
    pub avx_vnni: bool,
    /// AMX-INT8 (`tdpbusd`), and the system has granted this process the use of tile registers.
    pub amx_int8: bool,
    /// AMX-BF16 (`tdpbf16ps`) beside AMX-INT8.
    pub amx_bf16: bool,
}

#[cfg(target_arch = "x86_64")]
fn detect() -> CpuFeatures {
    use std::arch::is_x86_feature_detected as has;
    let amx_int8 = crate::amx::is_usable();
    let avx2 = has!("avx2") && has!("fma") && has!("f16c");
    let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    CpuFeatures {
        avx2,
        avx512,
        avx512_vnni: avx512 && has!("avx512vnni"),
        avx512_vbmi: avx512 && has!("avx512vbmi"),
        avx512_bf16: avx512 && has!("avx512bf16"),
        avx_vnni: avx2 && has!("avxvnni"),
        amx_int8,
        amx_bf16: amx_int8 && crate::amx::cpu_has_bf16(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> CpuFeatures {
    CpuFeatures::default()
}

/// The facts about this CPU.
#[inline]
pub fn features() -> &'static CpuFeatures {
    static FEATURES: OnceLock<CpuFeatures> = OnceLock::new();
    FEATURES.get_or_init(detect)
}

/// The level to use: the best this CPU has, capped by `VEDETTE_ISA` (`scalar`, `avx2`, `avx512`,
/// `amx`).
///
/// An unknown name in the variable is ignored here; the Python face reports it.
pub fn isa() -> Isa {
    static CHOSEN: OnceLock<Isa> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let available = Isa::available();
        let best = available[available.len() - 1];
        match std::env::var("VEDETTE_ISA").as_deref() {
            Ok("scalar") => Isa::SCALAR,
            Ok("avx2") => Isa::new(Level::Avx2).unwrap_or(best).min(best),
            Ok("avx512") => Isa::new(Level::Avx512).unwrap_or(best).min(best),
            _ => best,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_named() {
        let available = Isa::available();
        assert_eq!(available[0], Isa::SCALAR);
        assert!(available.windows(2).all(|pair| pair[0] < pair[1]));
        for isa in available {
            assert_eq!(Isa::from_name(isa.name()), Some(isa));
        }
        assert_eq!(Isa::from_name("sse9"), None);
    }
}
