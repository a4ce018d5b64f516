"""Numbers in few bits: quantised tensors, ranges seen in data, and how large the errors are."""

from vedette.quantization.metrics import cosine, maximum_error, mse, sqnr
from vedette.quantization.observers import METHODS, Observer, observer
from vedette.quantization.parameters import Parameters
from vedette.quantization.tensors import QuantizedTensor, quantize

__all__ = [
    "METHODS",
    "Observer",
    "Parameters",
    "QuantizedTensor",
    "cosine",
    "maximum_error",
    "mse",
    "observer",
    "quantize",
    "sqnr",
]
