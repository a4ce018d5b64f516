use half::{bf16, f16};

/// Element types, named as in NumPy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DType {
    F32,
    F64,
    F16,
    BF16,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
}

impl DType {
    const ALL: [(DType, &'static str, usize); 13] = [
        (DType::F32, "float32", 4),
        (DType::F64, "float64", 8),
        (DType::F16, "float16", 2),
        (DType::BF16, "bfloat16", 2),
        (DType::I8, "int8", 1),
        (DType::U8, "uint8", 1),
        (DType::I16, "int16", 2),
        (DType::U16, "uint16", 2),
        (DType::I32, "int32", 4),
        (DType::U32, "uint32", 4),
        (DType::I64, "int64", 8),
        (DType::U64, "uint64", 8),
        (DType::Bool, "bool", 1),
    ];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        Self::ALL[self as usize].2
    }

    /// The NumPy name.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The type of that NumPy name.
    pub fn from_name(name: &str) -> Option<DType> {
        Self::ALL.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }

    /// Whether this is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that is the element of a [`DType`].
///
/// # Safety
/// `DTYPE.size()` must be the size of `Self`, and any bytes that a tensor of that dtype can hold must be a valid `Self`.
pub unsafe trait Element:
    Copy + Default + PartialEq + Send + Sync + std::fmt::Debug + 'static
{
    /// The dtype with this element.
    const DTYPE: DType;
}

macro_rules! element {
    ($($rust:ty => $dtype:ident),* $(,)?) => {
        $(
            // SAFETY: the size is checked below; every bit pattern of these is valid, and bool tensors hold 0 or 1
            // (whoever brings bytes from outside normalises them).
            unsafe impl Element for $rust {
                const DTYPE: DType = DType::$dtype;
            }
        )*
        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn sizes_and_names_agree() {
                $(assert_eq!(DType::$dtype.size(), size_of::<$rust>());)*
                for (i, (dtype, name, _)) in DType::ALL.into_iter().enumerate() {
                    assert_eq!(dtype as usize, i);
                    assert_eq!(DType::from_name(name), Some(dtype));
                }
            }
        }
    };
}

element! {
    f32 => F32, f64 => F64, f16 => F16, bf16 => BF16,
    i8 => I8, u8 => U8, i16 => I16, u16 => U16, i32 => I32, u32 => U32, i64 => I64, u64 => U64,
    bool => Bool,
}
