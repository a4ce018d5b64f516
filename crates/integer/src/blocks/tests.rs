use super::*;
use crate::test_data::bytes;
use vedette_tensor::View;

struct Case {
    bits: usize,
    group: usize,
    columns: usize,
    groups: usize,
    b: Vec<u8>,
    scales: Vec<f32>,
    zero_points: Option<Vec<u8>>,
}

impl Case {
    fn new(bits: usize, group: usize, columns: usize, groups: usize, zero_points: Option<u8>) -> Case {
        let most = (1u32 << bits) - 1;
        Case {
            bits,
            group,
            columns,
            groups,
            b: bytes(columns * groups * group * bits / 8, 1),
            scales: bytes(columns * groups, 2).iter().map(|&x| 0.001 + f32::from(x) * 1e-4).collect(),
            // The same for all, or, with 255, any.
            zero_points: zero_points.map(|zero_point| {
                let any = bytes(columns * groups, 3);
                any.into_iter().map(|x| if zero_point == 255 { x & most as u8 } else { zero_point }).collect()
            }),
        }
    }

    fn weights(&self) -> BlockWeights {
        let (columns, groups) = (self.columns, self.groups);
        let zero_points = self.zero_points.as_ref().map(|zeros| View::of(&[columns, groups], zeros));
        let b = View::of(&[columns, groups, self.group * self.bits / 8], &self.b);
        let scales = View::of(&[columns, groups], &self.scales);
        BlockWeights::new(self.bits, self.group, &b, &scales, zero_points.as_ref()).unwrap()
    }

    /// A weight as a real number.
    fn real(&self, column: usize, k: usize) -> f64 {
        let at = column * self.groups * self.group + k;
        let q = if self.bits == 8 { self.b[at] } else { self.b[at / 2] >> (at % 2 * 4) & 15 };
        let entry = column * self.groups + k / self.group;
        let zero_point = self.zero_points.as_ref().map_or(1 << (self.bits - 1), |zeros| zeros[entry]);
        (f64::from(q) - f64::from(zero_point)) * f64::from(self.scales[entry])
    }
}

fn run(isa: Isa, case: &Case, rows: usize, a: &[f32], threads: usize) -> Vec<f32> {
    let plan = BlockMatMulPlan::new(isa, threads, rows, Arc::new(case.weights()));
    let mut scratch = vec![0u64; plan.scratch_bytes().div_ceil(8)];
    let mut out = vec![f32::NAN; rows * case.columns];
    // SAFETY: as planned; the scratch memory is aligned.
    unsafe {
        let scratch = std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), plan.scratch_bytes());
        plan.run(a.as_ptr(), out.as_mut_ptr(), scratch, &ThreadPool::new(threads));
    }
    out
}

fn activations(n: usize) -> Vec<f32> {
    bytes(n, 9).iter().enumerate().map(|(i, &x)| (f32::from(x) - 120.0) * (1.0 + (i % 7) as f32)).collect()
}

#[test]
fn every_level_computes_the_same_bits_near_the_exact_product() {
    for (bits, group) in [(4, 32), (8, 32), (4, 128), (8, 16), (4, 8), (8, 8), (4, 64), (8, 160)] {
        for (columns, groups, zero_points) in
            [(40, 3, None), (17, 5, Some(255)), (16, 1, Some(3)), (1, 4, Some(255)), (150, 2, Some(255))]
        {
            let case = Case::new(bits, group, columns, groups, zero_points);
            let depth = groups * group;
            for rows in [1, 2, 3, 5, 8, 13] {
                let a = activations(rows * depth);
                let oracle = run(Isa::SCALAR, &case, rows, &a, 1);
                for isa in Isa::available() {
                    assert_eq!(
                        run(isa, &case, rows, &a, 2),
                        oracle,
                        "{isa:?} {bits} {group} {columns} {rows}"
                    );
                }
                for (i, &y) in oracle.iter().enumerate() {
                    let (row, column) = (i / columns, i % columns);
                    let (mut exact, mut bound) = (0.0, 0.0);
                    for g in 0..groups {
                        let group_of = &a[row * depth + g * group..][..group];
                        let step = group_of.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
                        for (k, &x) in group_of.iter().enumerate() {
                            let w = case.real(column, g * group + k);
                            exact += f64::from(x) * w;
                            // Half a step of rounding of each activation, and the rounding of float sums.
                            bound += f64::from(step) * 0.51 * w.abs();
                        }
                    }
                    assert!(
                        (f64::from(y) - exact).abs() <= bound + 1e-3 * exact.abs(),
                        "{y} {exact} {bound}"
                    );
                }
            }
        }
    }
}

#[test]
fn extreme_activations_are_alike_at_every_level() {
    for bits in [4, 8] {
        let mut case = Case::new(bits, 32, 33, 4, Some(0));
        case.b.fill(255);
        let mut a = activations(2 * 128);
        a[..32].fill(0.0);
        a[32..64].fill(-3.5);
        a[64] = 1e30;
        a[100] = 1e-40;
        a[128..160].fill(1e30);
        let oracle = run(Isa::SCALAR, &case, 2, &a, 1);
        assert!(oracle.iter().all(|y| y.is_finite()));
        for isa in Isa::available() {
            assert_eq!(run(isa, &case, 2, &a, 1), oracle);
        }
        a[7] = f32::NAN;
        a[200] = f32::INFINITY;
        let bits_of =
            |y: Vec<f32>| y.into_iter().map(|y| if y.is_nan() { 0 } else { y.to_bits() }).collect::<Vec<_>>();
        let oracle = bits_of(run(Isa::SCALAR, &case, 2, &a, 1));
        for isa in Isa::available() {
            assert_eq!(bits_of(run(isa, &case, 2, &a, 1)), oracle);
        }
    }
}

#[test]
fn scales_are_as_precise_whatever_their_size() {
    let mut case = Case::new(4, 32, 17, 3, None);
    let (a, scales) = (activations(3 * 32), case.scales.clone());
    let expected = run(Isa::SCALAR, &case, 1, &a, 1);
    for exponent in [-100, -30, 20] {
        let factor = 2f32.powi(exponent);
        case.scales = scales.iter().map(|scale| scale * factor).collect();
        let expected: Vec<f32> = expected.iter().map(|y| y * factor).collect();
        for isa in Isa::available() {
            assert_eq!(run(isa, &case, 1, &a, 1), expected);
        }
    }
}

#[test]
fn scales_of_eleven_bits_are_exact_and_others_are_rounded_to_them() {
    for (scale, kept) in [(0.0, 0.0), (1.0, 1.0), (1025.0, 1025.0), (1024.4, 1024.0)] {
        let mut case = Case::new(8, 8, 1, 2, Some(0));
        case.b.fill(1);
        case.scales = vec![scale, -scale / 2.0];
        for isa in Isa::available() {
            // A step of 1: 127 is its own byte.
            assert_eq!(run(isa, &case, 1, &[127.0; 16], 1), [8.0 * 127.0 * kept / 2.0], "{isa:?} {scale}");
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let (b, scales) = ([0u8; 64], [1.0f32; 4]);
    let scales = View::of(&[2, 2], &scales);
    let pack = |bits, group, shape: &[usize], scales: &View<'_>| {
        BlockWeights::new(bits, group, &View::of(shape, &b), scales, None).map(|_| ())
    };
    assert!(pack(4, 32, &[2, 2, 16], &scales).is_ok());
    assert!(pack(3, 32, &[2, 2, 16], &scales).is_err());
    assert!(pack(4, 30, &[2, 2, 16], &scales).is_err());
    assert!(pack(8, 32, &[2, 2, 16], &scales).is_err());
    assert!(pack(4, 32, &[1, 4, 16], &scales).is_err());
    assert!(pack(4, 32, &[64], &scales).is_err());
    assert!(pack(4, 0, &[2, 2, 16], &scales).is_err());
}
