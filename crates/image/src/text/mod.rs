//! From the output of a text detector to boxes.

mod boxes;
mod rectangle;

pub use boxes::{BoxOptions, TextBox, find_text_boxes};
pub use rectangle::RotatedRectangle;
