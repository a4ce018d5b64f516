"""Three published architectures at 1x3x224x224, with random weights: ResNet-50, MobileNetV2 and ViT-Tiny/16.

They serve to compare numbers and speed, never accuracy; ``python -m bench.reference_networks FOLDER`` writes
them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from bench.onnx_builder import OnnxNet

_CLASSES = 1000


class Network(OnnxNet):
    """Layers of vision networks. Weights keep the variance of what passes through them."""

    def filters(self, *shape: int, gain: float = 1.0) -> str:
        fan_in = int(np.prod(shape[1:]))
        return self.constant(self.random.normal(0, (gain / fan_in) ** 0.5, shape))

    def convolution(
        self, x: str, shape: tuple[int, int, int], stride: int = 1, groups: int = 1, gain: float = 2.0
    ) -> str:
        """``shape``: input channels, output channels, size of the square kernel."""
        channels_in, channels_out, size = shape
        weights = self.filters(channels_out, channels_in // groups, size, size, gain=gain)
        bias = self.constant(self.random.normal(0, 0.1, channels_out))
        pads = [size // 2] * 4
        return str(
            self.op(
                "Conv",
                x,
                weights,
                bias,
                kernel_shape=[size] * 2,
                strides=[stride] * 2,
                pads=pads,
                group=groups,
            )
        )

    def linear(self, x: str, channels_in: int, channels_out: int) -> str:
        product = self.op(
            "MatMul", x, self.constant(self.random.normal(0, channels_in**-0.5, (channels_in, channels_out)))
        )
        return str(self.op("Add", product, self.constant(self.random.normal(0, 0.1, channels_out))))

    def classifier(self, x: str, channels: int) -> str:
        pooled = self.op("Flatten", self.op("GlobalAveragePool", x))
        return str(
            self.op(
                "Gemm", pooled, self.filters(_CLASSES, channels), self.constant(np.zeros(_CLASSES)), transB=1
            )
        )


def resnet50() -> onnx.ModelProto:
    net = Network(opset=17, seed=50)
    x = net.op("Relu", net.convolution(net.input("x", 1, 3, 224, 224), (3, 64, 7), stride=2))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = net.op("Relu", net.convolution(x, (channels, width, 1)))
            y = net.op("Relu", net.convolution(y, (width, width, 3), stride))
            y = net.convolution(y, (width, 4 * width, 1), gain=0.5)
            if not block:
                x = net.convolution(x, (channels, 4 * width, 1), stride, gain=1.0)
            x, channels = net.op("Relu", net.op("Add", y, x)), 4 * width
    return net.model(net.classifier(x, channels))


def mobilenet_v2() -> onnx.ModelProto:
    net = Network(opset=17, seed=2)
    zero, six = net.constant(0.0), net.constant(6.0)

    def relu6(x: str) -> str:
        return str(net.op("Clip", x, zero, six))

    x, channels = relu6(net.convolution(net.input("x", 1, 3, 224, 224), (3, 32, 3), stride=2)), 32
    stages = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for expansion, width, blocks, first_stride in stages:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            hidden = expansion * channels
            y = x if expansion == 1 else relu6(net.convolution(x, (channels, hidden, 1)))
            y = relu6(net.convolution(y, (hidden, hidden, 3), stride, groups=hidden))
            y = net.convolution(y, (hidden, width, 1), gain=1.0)
            x = net.op("Add", x, y) if stride == 1 and width == channels else y
            channels = width
    x = relu6(net.convolution(x, (channels, 1280, 1)))
    return net.model(net.classifier(x, 1280))


def vit_tiny() -> onnx.ModelProto:
    width, heads, tokens, layers = 192, 3, 196, 12
    size = width // heads
    net = Network(opset=17, seed=16)
    root2, one, half = net.constant(2**0.5), net.constant(1.0), net.constant(0.5)

    def norm(x: str) -> str:
        scale, bias = net.constant(np.ones(width)), net.constant(np.zeros(width))
        return str(net.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-6))

    def gelu(x: str) -> str:
        erf = net.op("Erf", net.op("Div", x, root2))
        return str(net.op("Mul", net.op("Mul", x, net.op("Add", erf, one)), half))

    def split(x: str, perm: list[int]) -> str:
        return str(net.op("Transpose", net.op("Reshape", x, net.integers(1, tokens, heads, size)), perm=perm))

    patches = net.op("Conv", net.input("x", 1, 3, 224, 224), net.filters(width, 3, 16, 16), strides=[16, 16])
    x = net.op("Transpose", net.op("Reshape", patches, net.integers(1, width, tokens)), perm=[0, 2, 1])
    x = net.op("Add", x, net.constant(net.random.normal(0, 0.1, (1, tokens, width))))
    for _ in range(layers):
        y = norm(x)
        query, key, value = (net.linear(y, width, width) for _ in range(3))
        scores = net.op("MatMul", split(query, [0, 2, 1, 3]), split(key, [0, 2, 3, 1]))
        weights = net.op("Softmax", net.op("Mul", scores, net.constant(size**-0.5)), axis=-1)
        mixed = net.op("Transpose", net.op("MatMul", weights, split(value, [0, 2, 1, 3])), perm=[0, 2, 1, 3])
        mixed = net.op("Reshape", mixed, net.integers(1, tokens, width))
        x = net.op("Add", x, net.linear(mixed, width, width))
        x = net.op("Add", x, net.linear(gelu(net.linear(norm(x), width, 4 * width)), 4 * width, width))
    pooled = net.op("ReduceMean", norm(x), axes=[1], keepdims=0)
    return net.model(net.linear(pooled, width, _CLASSES))


def small() -> onnx.ModelProto:
    """Twenty convolutions of 3x3 at 64x64 and below: much of its time is not arithmetic."""
    net = Network(opset=17, seed=20)
    x, channels = net.input("x", 1, 3, 64, 64), 3
    for layer in range(20):
        width = 16 << layer // 7
        stride = 2 if layer and width != channels else 1
        x, channels = net.op("Relu", net.convolution(x, (channels, width, 3), stride)), width
    return net.model(net.classifier(x, channels))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet50": resnet50,
    "mobilenet_v2": mobilenet_v2,
    "vit_tiny": vit_tiny,
}


def write(folder: Path) -> dict[str, Path]:
    """Writes every network into a folder; their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.onnx" for name in NETWORKS}
    for name, path in paths.items():
        onnx.save(NETWORKS[name](), path)
    return paths


if __name__ == "__main__":
    write(Path(sys.argv[1]))
