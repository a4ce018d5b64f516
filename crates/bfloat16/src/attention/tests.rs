use super::{AttentionArguments, AttentionOperands, AttentionPlan};
use crate::Values;
use crate::test_data::{bytes, numbers, scratch};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, bf16_bits};
use vedette_tensor::contiguous_strides;

/// Queries, keys and values `[batch, heads, rows, depth]`, in memory as heads side by side where `joined`.
#[derive(Clone, Copy)]
struct Case {
    heads: [usize; 2],
    rows: usize,
    keys: usize,
    depth: usize,
    values: usize,
    joined: bool,
    threads: usize,
}

impl Case {
    fn strides(&self, rows: usize, columns: usize) -> Vec<isize> {
        let [batch, heads] = self.heads;
        if self.joined {
            let row = (heads * columns) as isize;
            return vec![rows as isize * row, columns as isize, row, 1];
        }
        contiguous_strides(&[batch, heads, rows, columns]).to_vec()
    }

    /// Queries, keys and values that are rounded already give the same bits, and a rounded output those of the other.
    fn check_rounded(
        &self,
        isa: Isa,
        operands: &AttentionOperands<'_>,
        (q, k, v): (&[f32], &[f32], &[f32]),
        (expected, strides, alpha): (&[f32], &[isize], f32),
    ) {
        let narrow = |x: &[f32]| x.iter().map(|&x| bf16_bits(x)).collect::<Vec<u16>>();
        let (q, k, v) = (narrow(q), narrow(k), narrow(v));
        let plan = AttentionPlan::new(isa, self.threads, operands, strides, alpha).unwrap();
        let plan = plan.with_values([Values::Bfloat16; 3], Values::Bfloat16);
        let mut room = scratch(plan.scratch_bytes());
        let mut out = narrow(expected);
        out.fill(7);
        let arguments = AttentionArguments {
            q: q.as_ptr().cast(),
            k: k.as_ptr().cast(),
            v: v.as_ptr().cast(),
            out: out.as_mut_ptr().cast(),
        };
        // SAFETY: vectors of the sizes planned for.
        unsafe { plan.run(&arguments, bytes(&mut room), &ThreadPool::new(self.threads)) };
        assert!(out == narrow(expected), "{}", isa.name());
    }

    fn check(&self, isa: Isa) {
        let [batch, heads] = self.heads;
        let shape = |rows: usize, columns: usize| [batch, heads, rows, columns];
        let (q_shape, v_shape) = (shape(self.rows, self.depth), shape(self.keys, self.values));
        let mut k_shape = shape(self.keys, self.depth);
        let (q_strides, v_strides) =
            (self.strides(self.rows, self.depth), self.strides(self.keys, self.values));
        let mut k_strides = self.strides(self.keys, self.depth);
        k_shape.swap(2, 3);
        k_strides.swap(2, 3);
        let values = |seed: u32, shape: [usize; 4]| numbers(seed, shape.iter().product());
        let (q, k, v) = (values(1, q_shape), values(2, k_shape), values(3, v_shape));
        let operands = AttentionOperands {
            q: (&q_shape, &q_strides),
            k: (&k_shape, &k_strides),
            v: (&v_shape, &v_strides),
        };
        let out_shape = operands.output().unwrap();
        assert_eq!(out_shape[..], shape(self.rows, self.values));
        let out_strides = self.strides(self.rows, self.values);
        let alpha = 0.3;
        let plan = AttentionPlan::new(isa, self.threads, &operands, &out_strides, alpha).unwrap();
        let mut scratch = scratch(plan.scratch_bytes());
        let mut out = vec![7.0f32; out_shape.iter().product()];
        let arguments = arguments((&q, &k, &v), &mut out);
        // SAFETY: vectors of the sizes planned for.
        unsafe { plan.run(&arguments, bytes(&mut scratch), &ThreadPool::new(self.threads)) };
        self.check_rounded(isa, &operands, (&q, &k, &v), (&out, &out_strides, alpha));

        let at = |strides: &[isize], index: [usize; 4]| {
            index.iter().zip(strides).map(|(&i, &by)| i * by as usize).sum::<usize>()
        };
        for (n, h, row) in (0..batch * heads * self.rows)
            .map(|i| (i / self.rows / heads, i / self.rows % heads, i % self.rows))
        {
            let (mut scores, mut largest) = (Vec::new(), 0.0f64);
            for key in 0..self.keys {
                let (mut score, mut magnitude) = (0.0, 0.0);
                for d in 0..self.depth {
                    let a = f64::from(q[at(&q_strides, [n, h, row, d])]);
                    let b = f64::from(k[at(&k_strides, [n, h, d, key])]);
                    score += f64::from(alpha) * a * b;
                    magnitude += f64::from(alpha) * (a * b).abs();
                }
                scores.push(score);
                largest = largest.max(magnitude);
            }
            let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - peak).exp()).collect();
            let total: f64 = weights.iter().sum();
            for column in 0..self.values {
                let mut exact = 0.0;
                let mut magnitude = 0.0;
                for (key, weight) in weights.iter().enumerate() {
                    let value = f64::from(v[at(&v_strides, [n, h, key, column])]);
                    exact += weight / total * value;
                    magnitude += weight / total * value.abs();
                }
                let found = f64::from(out[at(&out_strides, [n, h, row, column])]);
                // Rounding queries and keys moves a score by up to 2^-7 of its terms, which a weight and the sum of the
                // weights follow; weights and values are rounded once more each. A third more for second orders.
                let bound = 1.3 * (4.0 * largest + 2.0) * 2f64.powi(-8) * magnitude + 1e-6;
                assert!((found - exact).abs() <= bound, "{} {found}, expected {exact}", isa.name());
            }
        }
    }
}

fn arguments((q, k, v): (&[f32], &[f32], &[f32]), out: &mut [f32]) -> AttentionArguments {
    AttentionArguments {
        q: q.as_ptr().cast(),
        k: k.as_ptr().cast(),
        v: v.as_ptr().cast(),
        out: out.as_mut_ptr().cast(),
    }
}

const PLAIN: Case =
    Case { heads: [1, 2], rows: 20, keys: 30, depth: 16, values: 16, joined: false, threads: 1 };

#[test]
fn attention_is_within_the_bound() {
    for isa in Isa::available() {
        for (rows, keys, depth, values) in [
            (1, 1, 1, 1),
            (3, 17, 15, 15),
            (20, 5, 8, 40),
            (64, 64, 32, 32),
            (100, 70, 33, 20),
            (197, 197, 64, 64),
        ] {
            for joined in [false, true] {
                Case { rows, keys, depth, values, joined, ..PLAIN }.check(isa);
            }
            Case { rows, keys, depth, values, heads: [2, 3], joined: true, threads: 3 }.check(isa);
        }
        Case { heads: [0, 3], ..PLAIN }.check(isa);
        Case { rows: 0, ..PLAIN }.check(isa);
    }
}

#[test]
fn keys_and_values_of_one_head_serve_several() {
    let (q, k) = (numbers(1, 3 * 4 * 8), numbers(2, 5 * 8));
    let operands = AttentionOperands {
        q: (&[3, 4, 8], &[32, 8, 1]),
        k: (&[1, 8, 5], &[40, 1, 8]),
        v: (&[5, 8], &[8, 1]),
    };
    let isa = vedette_simd::isa();
    let plan = AttentionPlan::new(isa, 1, &operands, &[32, 8, 1], 1.0).unwrap();
    let mut room = scratch(plan.scratch_bytes());
    let mut out = vec![0.0f32; 96];
    let given = arguments((&q, &k, &k), &mut out);
    // SAFETY: vectors of the sizes planned for.
    unsafe { plan.run(&given, bytes(&mut room), &ThreadPool::new(1)) };
    for head in 0..3 {
        let operands = AttentionOperands { q: (&[4, 8], &[8, 1]), k: (&[8, 5], &[1, 8]), ..operands };
        let plan = AttentionPlan::new(isa, 1, &operands, &[8, 1], 1.0).unwrap();
        let mut room = scratch(plan.scratch_bytes());
        let mut alone = vec![0.0f32; 32];
        let arguments = arguments((&q[head * 32..], &k, &k), &mut alone);
        // SAFETY: as above.
        unsafe { plan.run(&arguments, bytes(&mut room), &ThreadPool::new(1)) };
        assert_eq!(alone, out[head * 32..][..32]);
    }
}
