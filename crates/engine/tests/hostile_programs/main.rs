//! Random bytes as programs, none of which may panic.

mod arbitrary;

use arbitrary::fuzz_program;
use proptest::prelude::*;

/// A few seconds' worth, unless `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(4000))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_program_is_run_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_program(&bytes);
    }

    #[test]
    fn damaged_text_is_refused(cut in 0usize..500, at in 0usize..500, byte in any::<u8>()) {
        let text = br#"{"version": 1, "values": 4, "inputs": [{"value": 0, "name": "x", "dtype": "float32",
            "shape": [null, 3]}], "outputs": [{"value": 2, "name": "y"}], "constants": [], "nodes":
            [{"op": "Add", "name": "a", "inputs": [0, 0, null], "outputs": [1]},
             {"op": "Transpose", "name": "t", "inputs": [1], "outputs": [2, 3], "attributes": {"perm": [1, 0]}}]}"#;
        let mut damaged = vec![0];
        damaged.extend_from_slice(&text[..text.len() - cut.min(text.len()) * usize::from(cut % 2 == 0)]);
        let at = at % damaged.len();
        damaged[at] = if at == 0 { 0 } else { byte };
        fuzz_program(&damaged);
    }
}
