use super::{Builder, count};
use proptest::prelude::*;
use serde_json::json;
use vedette_tensor::View;

/// A value as plain code computes it: its shape and its elements in C order.
#[derive(Clone)]
struct Plain {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Plain {
    fn transposed(&self, perm: &[usize]) -> Plain {
        let view = View::of(&self.shape, &self.data).permuted(perm);
        Plain { shape: view.shape().to_vec(), data: view.to_vec() }
    }

    fn halves(&self) -> [Plain; 2] {
        let mut shape = self.shape.clone();
        shape[0] /= 2;
        let n = shape.iter().product::<usize>();
        [0, n].map(|start| Plain { shape: shape.clone(), data: self.data[start..start + n].to_vec() })
    }
}

const PERMS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn planned_runs_equal_plain_code(
        choices in prop::collection::vec((0usize..8, 0usize..1000, 0usize..1000), 1..40),
        chosen in prop::collection::vec(0usize..1000, 1..5),
    ) {
        let mut b = Builder::new();
        let data = count(16);
        let x = b.input("float32", json!([null, 2, 4]));
        let target = b.input("int64", json!([3]));
        let mut values = vec![(x, Plain { shape: vec![2, 2, 4], data: data.clone() })];
        for (kind, first, second) in choices {
            let (id, plain) = values[first % values.len()].clone();
            match kind {
                0..=2 => {
                    let same: Vec<_> = values.iter().filter(|(_, other)| other.shape == plain.shape).collect();
                    let (other_id, other) = same[second % same.len()].clone();
                    let sum = plain.data.iter().zip(&other.data).map(|(a, b)| (a + b) % 1024.0).collect::<Vec<_>>();
                    if sum.iter().zip(plain.data.iter().zip(&other.data)).any(|(s, (a, b))| *s != a + b) {
                        continue;
                    }
                    values.push((b.node("Add", &[id, other_id]), Plain { data: sum, ..plain }));
                }
                3 => {
                    if plain.data.iter().any(|x| *x > 512.0) {
                        continue;
                    }
                    let data = plain.data.iter().map(|x| x * 2.0).collect();
                    values.push((b.node("Double", &[id]), Plain { data, ..plain }));
                }
                4 => values.push((b.node("ChannelsLast", &[id]), plain)),
                5 => {
                    let perm = PERMS[second % 6];
                    values.push((b.transpose(id, &perm), plain.transposed(&perm)));
                }
                6 if plain.shape[0] % 2 == 0 => {
                    let made = b.nodes("Halves", &[id], 2, json!({}));
                    values.extend(made.into_iter().zip(plain.halves()));
                }
                // Shapes from the run cut the plan; constant ones do not.
                _ if plain.data.len() == 16 => {
                    let shape = if second % 2 == 0 { target } else { b.ints(&[4, 2, 2]) };
                    values.push((b.node("Reshape", &[id, shape]), Plain { shape: vec![4, 2, 2], ..plain }));
                }
                _ => {}
            }
        }
        let outputs: Vec<_> = chosen.iter().map(|&i| values[values.len() - 1 - i % values.len()].clone()).collect();
        let engine = b.build(&outputs.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        let inputs = [View::of(&[2, 2, 4], &data), View::of(&[3], &[4i64, 2, 2])];
        // The second run uses the plan, and the memory, that the first left.
        for _ in 0..2 {
            let made = engine.run(&inputs).unwrap();
            for (tensor, (_, plain)) in made.iter().zip(&outputs) {
                prop_assert_eq!(tensor.shape(), &plain.shape[..]);
                prop_assert_eq!(tensor.slice::<f32>(), &plain.data[..]);
            }
        }
    }
}
