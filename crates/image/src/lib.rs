//! Image kernels: decoding, resizing, warping and geometry.
