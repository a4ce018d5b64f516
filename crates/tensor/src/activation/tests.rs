//! Every activation at every level against its definition in f64.

use super::*;

/// The error function in f64: its series near zero, the continued fraction of its complement beyond.
fn erf(x: f64) -> f64 {
    let t = x.abs();
    let y = if t < 2.5 {
        let mut term = t;
        let mut sum = t;
        for n in 1..80 {
            term *= -t * t / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else if t < 10.0 {
        let fraction = (1..=60).rev().fold(0.0, |rest, k| f64::from(k) / 2.0 / (t + rest));
        1.0 - (-t * t).exp() / (t + fraction) / std::f64::consts::PI.sqrt()
    } else {
        1.0
    };
    if x.is_nan() { x } else { y.copysign(x) }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn line(x: f64, alpha: f32, beta: f32) -> f64 {
    (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
}

/// The definition of each activation.
fn expected(activation: Activation, x: f64) -> f64 {
    match activation {
        _ if x.is_nan() && !matches!(activation, Activation::ThresholdedRelu { .. }) => x,
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu { alpha } => {
            if x < 0.0 {
                f64::from(alpha) * x
            } else {
                x
            }
        }
        Activation::Clip { min, max } => x.max(f64::from(min)).min(f64::from(max)),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::HardSigmoid { alpha, beta } => line(x, alpha, beta),
        Activation::ScaledHardSigmoid { alpha, beta } => x * line(x, alpha, beta),
        Activation::Silu { alpha } => x / (1.0 + (-f64::from(alpha) * x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Gelu => x / 2.0 * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => {
            x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::Elu { alpha } => {
            if x < 0.0 {
                f64::from(alpha) * x.exp_m1()
            } else {
                x
            }
        }
        Activation::Selu { alpha, gamma } => {
            f64::from(gamma) * if x < 0.0 { f64::from(alpha) * x.exp_m1() } else { x }
        }
        Activation::Celu { alpha } => {
            let alpha = f64::from(alpha);
            x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0)
        }
        Activation::Mish => x * softplus(x).tanh(),
        Activation::Softplus => softplus(x),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::ThresholdedRelu { alpha } => {
            if x > f64::from(alpha) {
                x
            } else {
                0.0
            }
        }
        Activation::Erf => erf(x),
        Activation::Exp => x.exp(),
    }
}

/// Each activation with its bounds: ULPs of the result, and an absolute error below which ULPs do not count.
/// Gelu subtracts nearly equal numbers in its left tail, so there only the absolute error is small.
const BOUNDS: [(Activation, f64, f64); 25] = [
    (Activation::Relu, 0.0, 0.0),
    (Activation::LeakyRelu { alpha: 0.1 }, 0.5, 0.0),
    (Activation::LeakyRelu { alpha: 1.5 }, 0.5, 0.0),
    (Activation::Clip { min: -1.0, max: 6.0 }, 0.0, 0.0),
    (Activation::Clip { min: 2.0, max: 1.0 }, 0.0, 0.0),
    (Activation::Sigmoid, 3.0, 1e-37),
    (Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }, 2.0, 1e-7),
    (Activation::ScaledHardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, 3.0, 4e-7),
    (Activation::Silu { alpha: 1.0 }, 3.0, 1e-36),
    (Activation::Silu { alpha: 1.702 }, 90.0, 1e-7),
    (Activation::Tanh, 3.0, 0.0),
    (Activation::Gelu, 4.0, 3e-7),
    (Activation::GeluTanh, 5.0, 5e-7),
    (Activation::Elu { alpha: 1.0 }, 2.0, 0.0),
    (Activation::Elu { alpha: -0.5 }, 2.0, 0.0),
    (Activation::Selu { alpha: 1.673_263_2, gamma: 1.050_701 }, 3.0, 0.0),
    (Activation::Celu { alpha: 1.0 }, 2.0, 0.0),
    (Activation::Celu { alpha: 2.5 }, 4.0, 0.0),
    (Activation::Mish, 6.0, 1e-37),
    (Activation::Softplus, 3.0, 0.0),
    (Activation::Softsign, 2.0, 0.0),
    (Activation::ThresholdedRelu { alpha: 1.0 }, 0.0, 0.0),
    (Activation::Erf, 3.0, 1e-40),
    (Activation::Exp, 1.0, 0.0),
    (Activation::Clip { min: f32::NEG_INFINITY, max: f32::INFINITY }, 0.0, 0.0),
];

fn ulp(x: f64) -> f64 {
    let x = (x.abs() as f32).clamp(f32::MIN_POSITIVE, f32::MAX);
    f64::from(f32::from_bits(x.to_bits() + 1)) - f64::from(x)
}

fn inputs() -> Vec<f32> {
    let mut inputs = vec![0.0, -0.0, f32::NAN, 88.722, 88.73, -87.4, -103.9, -104.1, 1e30, 0.999_999_94, 4.0];
    for exponent in -40..7 {
        for step in 0..97 {
            let x = (1.0 + step as f32 / 97.0) * (exponent as f32).exp2();
            inputs.extend([x, -x]);
        }
    }
    inputs
}

#[test]
fn every_level_is_within_its_bounds() {
    let inputs = inputs();
    for isa in Isa::available() {
        for (activation, ulps, absolute) in BOUNDS {
            let mut found = inputs.clone();
            activation.apply(isa, &mut found);
            for (&x, &y) in inputs.iter().zip(&found) {
                let exact = expected(activation, f64::from(x));
                let about = || format!("{} {activation:?}({x}) = {y}, exact {exact}", isa.name());
                if exact.is_nan() || exact.abs() > f64::from(f32::MAX) {
                    assert!(
                        y.is_nan() == exact.is_nan()
                            && (y.is_nan() || f64::from(y) == exact || y.is_infinite()),
                        "{}",
                        about()
                    );
                    continue;
                }
                let error = (f64::from(y) - exact).abs();
                // Half an ULP is the rounding of the exact value itself.
                assert!(
                    error <= (ulps + 0.5) * ulp(exact) || error <= absolute,
                    "{} ({} ULP)",
                    about(),
                    error / ulp(exact)
                );
            }
        }
    }
}

#[test]
fn infinities_have_their_limits() {
    let limits = [
        (Activation::Relu, 0.0, f32::INFINITY),
        (Activation::Sigmoid, 0.0, 1.0),
        (Activation::Tanh, -1.0, 1.0),
        (Activation::Erf, -1.0, 1.0),
        (Activation::Exp, 0.0, f32::INFINITY),
        (Activation::Elu { alpha: 2.0 }, -2.0, f32::INFINITY),
        (Activation::Celu { alpha: 2.0 }, -2.0, f32::INFINITY),
        (Activation::Softplus, 0.0, f32::INFINITY),
        (Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }, 0.0, 1.0),
        (Activation::Clip { min: -3.0, max: 3.0 }, -3.0, 3.0),
    ];
    for isa in Isa::available() {
        for (activation, low, high) in limits {
            let mut data = [f32::NEG_INFINITY, f32::INFINITY];
            activation.apply(isa, &mut data);
            assert_eq!(data, [low, high], "{} {activation:?}", isa.name());
        }
    }
}

#[test]
fn tails_and_single_vectors_agree_with_the_slice_form() {
    for isa in Isa::available() {
        for n in 0..40 {
            let from: Vec<f32> = (0..n).map(|i| i as f32 * 0.37 - 5.0).collect();
            let mut padded = vec![7.0; n + 1];
            Activation::Mish.apply_to(isa, &from, &mut padded[..n]);
            assert_eq!(padded[n], 7.0, "the value after the end is untouched");
            let single: Vec<f32> = from
                .iter()
                .map(|&x| dispatch!(isa, S => S::max_lane(Activation::Mish.eval::<S>(S::splat(x)))))
                .collect();
            assert_eq!(padded[..n], single[..], "{} {n}", isa.name());
        }
    }
}
