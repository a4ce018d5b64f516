//! The Python face of the native core: converts arguments, releases the GIL, maps errors. Nothing else.
#![allow(missing_docs, reason = "the public documentation is the Python stub, _native.pyi")]

use pyo3::prelude::*;

mod array;
mod engine;
mod errors;
mod image;
mod memory;
mod ndarray;
mod quantization;
mod runtime;
mod spare_outputs;
mod tensor;

#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::engine::{Engine, supported_operators};
    #[pymodule_export]
    use super::image::arrays::as_array;
    #[pymodule_export]
    use super::image::blur::{blur, threshold_adaptive};
    #[pymodule_export]
    use super::image::change::{ChangeGate, tile_hashes};
    #[pymodule_export]
    use super::image::elements::{absdiff, normalize, threshold};
    #[pymodule_export]
    use super::image::operations::{
        convert_color, copy_image, histogram, letterbox_image, otsu_threshold, resize_image, to_gray, warp,
    };
    #[pymodule_export]
    use super::image::preprocess::Preprocess;
    #[pymodule_export]
    use super::image::{
        composite, crop_lines, decode_image, decode_image_file, encode_image, find_text_boxes,
    };
    #[pymodule_export]
    use super::memory::{Arena, Buffer, BufferPool, PressureMonitor, map_file, memory_pressure, trim_heap};
    #[pymodule_export]
    use super::quantization::{array_ranges, dequantize_array, from_halves, quantize_array, to_halves};
    #[pymodule_export]
    use super::runtime::{
        CpuThrottle, WorkerPool, available_isas, cpu_features, effective_cores, get_num_threads, isa,
        process_clocks, set_num_threads,
    };
    #[pymodule_export]
    use super::tensor::elementwise::{add, divide, multiply, scale, subtract};
    #[pymodule_export]
    use super::tensor::matmul::matmul;
    #[pymodule_export]
    use super::tensor::reductions::{argmax, reduce, softmax};
    #[pymodule_export]
    use super::tensor::windows::{conv2d, pool2d};
}
