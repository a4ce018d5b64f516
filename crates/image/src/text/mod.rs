//! From the outputs of text networks to boxes and characters.

mod boxes;
mod ctc;
mod rectangle;

pub use boxes::{BoxOptions, TextBox, find_text_boxes};
pub use ctc::best_classes;
pub use rectangle::RotatedRectangle;
