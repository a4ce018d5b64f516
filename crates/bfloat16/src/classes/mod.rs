//! Products whose columns are classes: of every row its softmax, or the likeliest class alone. The product itself is
//! never written: of thousands of classes it would be larger than the caches.

mod finish;
mod plan;

pub use plan::{Answers, ClassesArguments, ClassesPlan, Wanted};

#[cfg(test)]
mod tests;
