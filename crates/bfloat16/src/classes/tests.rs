use super::{Answers, ClassesArguments, ClassesPlan, Wanted};
use crate::matmul::MatMulPlan;
use crate::test_data::{numbers, rounded};
use std::ptr::null;
use std::sync::Arc;
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::contiguous_strides;
use vedette_tensor::matmul::MatMulOperands;

struct Case {
    rows: usize,
    depth: usize,
    classes: usize,
    bias: Option<Vec<f32>>,
    threads: usize,
    a: Vec<f32>,
}

impl Case {
    fn new(rows: usize, depth: usize, classes: usize) -> Case {
        let a = numbers(1, rows * depth).iter().map(|x| x / 16.0).collect();
        Case { rows, depth, classes, bias: None, threads: 1, a }
    }

    /// The shares of all classes; the likeliest class of each row and its share.
    fn run(&self, isa: Isa) -> (Vec<f32>, Vec<i64>, Vec<f32>) {
        let (a_shape, b_shape) = ([self.rows, self.depth], [self.depth, self.classes]);
        let strides = [contiguous_strides(&a_shape), contiguous_strides(&b_shape)];
        let operands = MatMulOperands {
            a_shape: &a_shape,
            a_strides: &strides[0],
            trans_a: false,
            b_shape: &b_shape,
            b_strides: &strides[1],
            trans_b: false,
        };
        let b = numbers(2, self.depth * self.classes);
        // SAFETY: the strides are those of the vector.
        let columns = Arc::new(unsafe { MatMulPlan::pack(isa, &operands, 1.0, b.as_ptr()) }.unwrap());
        let mut shares = vec![7.0; self.rows * self.classes];
        let (mut best, mut indices) = (vec![7.0; self.rows], vec![7; self.rows]);
        let pool = ThreadPool::new(self.threads);
        for (wanted, answers) in [
            (Wanted::Shares, Answers::Shares(shares.as_mut_ptr())),
            (Wanted::Best, Answers::Best(best.as_mut_ptr(), indices.as_mut_ptr())),
        ] {
            let rows = (&a_shape[..], &strides[0][..]);
            let plan = ClassesPlan::new(self.threads, rows, columns.clone(), wanted).unwrap();
            let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
            scratch.as_mut_slice().fill(0xff);
            let bias = self.bias.as_ref().map_or(null(), |bias| bias.as_ptr());
            let arguments = ClassesArguments { a: self.a.as_ptr(), bias, answers };
            // SAFETY: vectors of the sizes planned for.
            unsafe { plan.run(&arguments, scratch.as_mut_slice(), &pool) };
        }
        (shares, indices, best)
    }

    /// The scores of a row, exact but for the rounding of operands, and how far off sums of them may be.
    fn scores(&self, row: usize) -> (Vec<f64>, f64) {
        let b = numbers(2, self.depth * self.classes);
        let mut largest = 0.0f64;
        let mut score = |n: usize| {
            let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[n]));
            let (mut sum, mut magnitude) = (bias, bias.abs());
            for k in 0..self.depth {
                let term = rounded(self.a[row * self.depth + k]) * rounded(b[k * self.classes + n]);
                sum += term;
                magnitude += term.abs();
            }
            largest = largest.max(magnitude);
            sum
        };
        let scores = (0..self.classes).map(&mut score).collect();
        (scores, (self.depth + 2) as f64 * 2f64.powi(-23) * largest)
    }

    fn check(&self) {
        for isa in Isa::available() {
            let (shares, indices, best) = self.run(isa);
            for row in 0..self.rows {
                let (scores, off) = self.scores(row);
                // Both the score and the sum of all powers are off; powers are within 1e-5.
                let tolerance = 2.0 * (off + 1e-5);
                let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = scores.iter().map(|x| (x - peak).exp()).sum();
                let found = &shares[row * self.classes..][..self.classes];
                for (score, found) in scores.iter().zip(found) {
                    let exact = (score - peak).exp() / total;
                    let error = (f64::from(*found) - exact).abs();
                    assert!(error <= tolerance * exact + 1e-37, "{} {error} {exact}", isa.name());
                }
                let class = usize::try_from(indices[row]).unwrap();
                assert!(peak - scores[class] <= 2.0 * off, "{}: class {class} of row {row}", isa.name());
                assert!((f64::from(best[row]) - 1.0 / total).abs() <= tolerance / total);
            }
        }
    }
}

#[test]
fn shares_are_those_of_the_product() {
    for (rows, depth, classes) in [(1, 8, 16), (5, 24, 17), (37, 40, 100), (33, 120, 530), (300, 16, 70)] {
        for (threads, with_bias) in [(1, false), (2, true)] {
            let bias = with_bias.then(|| numbers(3, classes));
            Case { bias, threads, ..Case::new(rows, depth, classes) }.check();
        }
    }
}

#[test]
fn more_shares_than_the_caches_hold_are_written_past_them() {
    Case { bias: Some(numbers(3, 9001)), threads: 2, ..Case::new(150, 8, 9001) }.check();
}

#[test]
fn scores_far_from_zero_are_summed_as_well() {
    for offset in [-3000.0, -90.0, 90.0, 3000.0] {
        let bias: Vec<f32> = numbers(3, 70).iter().map(|x| x + offset).collect();
        let case = Case { bias: Some(bias), ..Case::new(20, 16, 70) };
        for isa in Isa::available() {
            let (shares, _, best) = case.run(isa);
            for (row, best) in shares.chunks(70).zip(best) {
                let total: f32 = row.iter().sum();
                // Scores of 3000 are 2e-4 apart.
                assert!((total - 1.0).abs() < 2e-3, "{} {offset} {total}", isa.name());
                let largest = row.iter().copied().fold(0.0, f32::max);
                assert!((best - largest).abs() < 2e-3 * largest, "{} {offset}", isa.name());
            }
        }
    }
}

#[test]
fn the_first_of_equals_is_the_best() {
    let mut bias = vec![0.0; 100];
    (bias[23], bias[41], bias[97]) = (2.0, 2.0, 2.0);
    let case = Case { a: vec![0.0; 3 * 8], bias: Some(bias), ..Case::new(3, 8, 100) };
    for isa in Isa::available() {
        assert_eq!(case.run(isa).1, [23; 3], "{}", isa.name());
    }
}

#[test]
fn what_is_no_number_makes_its_row_none_and_is_never_the_best() {
    let mut case = Case::new(3, 8, 40);
    case.a[8] = f32::NAN;
    for isa in Isa::available() {
        let (shares, indices, best) = case.run(isa);
        assert!(shares[40..80].iter().all(|share| share.is_nan()), "{}", isa.name());
        assert!(shares[..40].iter().chain(&shares[80..]).all(|share| share.is_finite()));
        assert!(best[1].is_nan() && best[0].is_finite() && best[2].is_finite());
        assert_eq!(indices[1], 0);
    }
    let mut bias = vec![0.0; 40];
    bias[7] = f32::NEG_INFINITY;
    let case = Case { bias: Some(bias), ..Case::new(3, 8, 40) };
    for isa in Isa::available() {
        assert!(case.run(isa).0.chunks(40).all(|row| row[7] == 0.0), "{}", isa.name());
    }
}
