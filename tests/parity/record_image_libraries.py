"""Write ``image_libraries.npz``: what torchvision and Ultralytics make of images, for tests without torch.

pip install torch torchvision ultralytics
python tests/parity/record_image_libraries.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torchvision
import ultralytics
from torchvision.transforms.v2 import functional
from ultralytics.data.augment import LetterBox

RECORDED = Path(__file__).with_name("image_libraries.npz")
SIZES = ((20, 31), (64, 96))
"""Shrunk and enlarged, each axis by another factor."""


def main() -> None:
    random = np.random.default_rng(0)
    y, x = np.mgrid[:47, :61]
    smooth = np.stack([127 + 120 * np.sin(x / 9), 127 + 120 * np.cos(y / 7), (x + y) * 2.3], axis=2)
    images = {
        "noise": random.integers(0, 256, (47, 61, 3), dtype=np.uint8),
        "smooth": np.clip(smooth, 0, 255).astype(np.uint8),
    }
    found: dict[str, np.ndarray] = {}
    for name, image in images.items():
        found[f"{name}"] = image
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        found[f"{name} gray"] = functional.rgb_to_grayscale(tensor)[0].numpy()
        for size in SIZES:
            for antialias in (True, False):
                resized = functional.resize(tensor, list(size), antialias=antialias)
                found[f"{name} {size[0]}x{size[1]} {antialias}"] = resized.permute(1, 2, 0).numpy()
            boxed = LetterBox(size, auto=False)(image=image)
            found[f"{name} letterbox {size[0]}x{size[1]}"] = boxed
        scaled = functional.resize(tensor, [20, 31], antialias=True)
        scaled = functional.to_dtype(scaled, torch.float32, scale=True)
        normalised = functional.normalize(scaled, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        found[f"{name} normalised"] = normalised.numpy()
    found["versions"] = np.array(
        [
            f"torch {torch.__version__}",
            f"torchvision {torchvision.__version__}",
            f"ultralytics {ultralytics.__version__}",
        ]
    )
    np.savez_compressed(RECORDED, **found)


if __name__ == "__main__":
    main()
