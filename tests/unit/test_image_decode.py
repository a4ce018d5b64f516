"""Every format and mode that is read, written by Pillow and compared with what Pillow itself decodes."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vedette
from vedette import image as images
from vedette.errors import ImageError, InputError

LOSSLESS = [
    ("PNG", "1", {}),
    ("PNG", "L", {}),
    ("PNG", "LA", {}),
    ("PNG", "P", {}),
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("WEBP", "RGB", {"lossless": True}),
    ("WEBP", "RGBA", {"lossless": True, "exact": True}),
    ("BMP", "1", {}),
    ("BMP", "L", {}),
    ("BMP", "P", {}),
    ("BMP", "RGB", {}),
    ("TIFF", "1", {}),
    ("TIFF", "L", {}),
    ("TIFF", "P", {}),
    ("TIFF", "RGB", {}),
    ("TIFF", "RGBA", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "tiff_deflate"}),
    ("TIFF", "RGB", {"compression": "packbits"}),
    ("TIFF", "1", {"compression": "group4"}),
]


def picture(height: int = 37, width: int = 53) -> Image.Image:
    """Smooth colours with a sharp block: enough to show swapped channels, rows or columns."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=2).astype(np.uint8)
    pixels[5:12, 7:20] = (250, 20, 90)
    return Image.fromarray(pixels)


def in_mode(mode: str) -> Image.Image:
    image = picture()
    if mode in ("LA", "RGBA"):
        image = image.convert(mode)
        alpha = np.tile(np.linspace(0, 255, image.width).astype(np.uint8), (image.height, 1))
        image.putalpha(Image.fromarray(alpha))
        return image
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def over(image: Image.Image, color: tuple[int, int, int]) -> np.ndarray:
    rgba = np.asarray(image.convert("RGBA")).astype(np.float64)
    alpha = rgba[:, :, 3:] / 255
    return rgba[:, :, :3] * alpha + np.array(color) * (1 - alpha)


@pytest.mark.parametrize(("kind", "mode", "options"), LOSSLESS)
def test_lossless_formats_decode_as_in_pillow(kind: str, mode: str, options: dict[str, object]) -> None:
    data = encoded(in_mode(mode), kind, **options)
    expected = over(Image.open(io.BytesIO(data)), (255, 255, 255))
    decoded = images.load(data)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    # Opaque pixels are exact; blended ones are rounded.
    assert np.abs(decoded - expected).max() <= (0.5 if "A" in mode else 0)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 2}, {"restart_marker_rows": 1}]
)
def test_jpeg_decodes_as_in_pillow(mode: str, options: dict[str, object]) -> None:
    data = encoded(picture().convert(mode), "JPEG", quality=95, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    difference = np.abs(images.load(data) - expected)
    # Decoders differ in how they round the inverse DCT and spread subsampled colour, at sharp edges most.
    assert difference.mean() < 2
    assert np.quantile(difference, 0.99) <= (4 if "subsampling" not in options else 40)


def test_lossy_webp_decodes_as_in_pillow() -> None:
    data = encoded(picture(), "WEBP", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    # The two decoders spread subsampled colour differently.
    assert np.abs(images.load(data) - expected).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_upper_eight(kind: str) -> None:
    values = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40)
    decoded = images.load(encoded(Image.fromarray(values), kind))
    expected = values / 257
    assert np.abs(decoded - expected[:, :, None]).max() <= 0.51


def test_sixteen_bit_colour_png() -> None:
    values = np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3) * 1111
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    decoded = images.load(png(5, 4, 16, 2, rows))
    assert np.abs(decoded - values / 257).max() <= 0.51


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_palette_with_transparency(kind: str) -> None:
    image = picture().quantize(16)
    if kind == "PNG":
        data = encoded(image, kind, transparency=3)
    else:
        data = encoded(in_mode("RGBA"), kind, quality=100)
    expected = over(Image.open(io.BytesIO(data)), (10, 200, 30))
    assert np.abs(images.load(data, background=(10, 200, 30)) - expected).mean() < 2


def test_contrasting_background_keeps_text_readable() -> None:
    for text, paper in [((255, 255, 255), 0), ((0, 0, 0), 255)]:
        pixels = np.zeros((6, 6, 4), np.uint8)
        pixels[2:4, 2:4] = (*text, 255)
        data = encoded(Image.fromarray(pixels), "PNG")
        decoded = images.load(data, background="contrast")
        assert (decoded[0, 0] == paper).all()
        assert (decoded[2, 2] == text).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    from PIL import ImageOps

    image = picture(48, 64)
    exif = image.getexif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0}
    if kind in ("PNG", "TIFF"):
        options = {}
    data = encoded(image, kind, exif=exif.tobytes() if kind != "TIFF" else exif, **options)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(int)
    decoded = images.load(data)
    assert decoded.shape == upright.shape
    assert np.abs(decoded - upright).mean() < 2


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def enormous() -> list[tuple[str, bytes]]:
    bmp = bytearray(encoded(picture(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60000, 60000)
    jpeg = bytearray(encoded(picture(), "JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 60000, 60000)
    return [("PNG", png(100_000, 100_000, 8, 2, b"")), ("BMP", bytes(bmp)), ("JPEG", bytes(jpeg))]


@pytest.mark.parametrize(("kind", "data"), enormous())
def test_enormous_images_are_refused_from_the_header(kind: str, data: bytes) -> None:
    with pytest.raises(ImageError, match=rf"{kind} header announces .* pixels; at most 178000000"):
        images.load(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_truncated_files_are_errors(kind: str, tmp_path: Path) -> None:
    data = encoded(picture(200, 300), kind)
    for part in (20, len(data) // 3, len(data) * 2 // 3, len(data) - 30):
        path = tmp_path / f"cut.{kind.lower()}"
        path.write_bytes(data[:part])
        with pytest.raises(ImageError) as raised:
            images.load(path)
        message = str(raised.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message


def test_what_is_no_image_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="empty"):
        images.load(b"")
    with pytest.raises(ImageError, match="not an image of a supported format"):
        images.load(b"GIF89a and more")
    with pytest.raises(ImageError, match="no such file"):
        images.load(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="it is a directory"):
        images.load(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tif", "tiff", "jpg", "jpeg", "PNG"])
def test_what_is_saved_is_loaded_again(suffix: str, tmp_path: Path) -> None:
    pixels = np.asarray(picture())
    path = tmp_path / f"image.{suffix}"
    images.save(path, pixels[:, ::-1])
    difference = np.abs(images.load(path).astype(int) - pixels[:, ::-1])
    assert difference.mean() < (3 if "j" in suffix else 1e-9)
    with Image.open(path) as opened:
        assert opened.size == (53, 37)


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp", "tiff"])
def test_files_are_encoded_into_the_pool(kind: str) -> None:
    pool = vedette.memory.default_pool()
    random = np.random.default_rng(0).integers(0, 256, (301, 403, 3), dtype=np.uint8)
    for pixels in (np.asarray(picture())[::-1], random, random[..., 0]):
        before = pool.stats().current_bytes
        encoded = images.encode(pixels, kind, quality=95)
        assert pool.stats().current_bytes > before
        with Image.open(io.BytesIO(encoded)) as opened:
            theirs = np.asarray(opened.convert("RGB"))
        difference = np.abs(theirs.astype(int) - images.to_rgb(pixels))
        # Quality 95 on noise, the worst case.
        assert difference.mean() < (30 if kind == "jpg" else 1e-9)
        loaded = images.load(encoded)
        assert np.abs(loaded.astype(int) - theirs).max() < (4 if kind == "jpg" else 1e-9)
        del encoded, loaded
        assert pool.stats().current_bytes == before
    with pytest.raises(ImageError, match="names no known format"):
        images.encode(random, "gif")


def test_saving_fails_clearly(tmp_path: Path) -> None:
    pixels = np.asarray(picture())
    with pytest.raises(ImageError, match="names no known format"):
        images.save(tmp_path / "image.gif", pixels)
    with pytest.raises(ImageError, match="cannot be written"):
        images.save(tmp_path / "missing" / "image.png", pixels)


def test_arrays_and_pil_images_become_rgb() -> None:
    rgb = np.asarray(picture())
    assert np.shares_memory(images.to_rgb(rgb), rgb)
    gray = rgb[:, :, 0]
    for same in (gray, gray[:, :, None], gray.astype(np.uint16) * 257, Image.fromarray(gray)):
        assert np.array_equal(images.to_rgb(same), np.stack([gray] * 3, axis=2))
    assert np.array_equal(images.to_rgb(gray > 99)[:, :, 1], np.where(gray > 99, 255, 0))
    palette = picture().convert("P")
    assert np.array_equal(images.to_rgb(palette), np.asarray(palette.convert("RGB")))
    rgba = np.dstack([rgb, np.zeros_like(gray)])
    assert (images.to_rgb(rgba, background=(1, 2, 3)) == (1, 2, 3)).all()
    assert (images.to_rgb(rgba[::-1, ::2]) == 255).all()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        "x",
        None,
    ],
)
def test_other_things_are_no_images(wrong: object) -> None:
    with pytest.raises(InputError):
        images.to_rgb(wrong)
    with pytest.raises(InputError):
        images.load(b"", background=(1, 2, 300))


@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB")])
def test_shrunk_images_are_the_means_of_whole_ones(kind: str, mode: str, shrink: int) -> None:
    smooth = picture(97, 131).resize((523, 387), Image.Resampling.BICUBIC)
    data = encoded(smooth.convert(mode), kind, **({"quality": 95} if kind == "JPEG" else {}))
    found = images.load(data, shrink=shrink)
    assert found.shape == (-(-387 // shrink), -(-523 // shrink), 3)
    # The borders of a JPEG are filled up to whole blocks, each decoder its own way.
    whole = images.load(data)[: 387 // shrink * shrink, : 523 // shrink * shrink].astype(float)
    means = whole.reshape(387 // shrink, shrink, 523 // shrink, shrink, 3).mean(axis=(1, 3))
    inside = found[: means.shape[0], : means.shape[1]]
    # A few frequencies of a block come close to its mean, as they do in Pillow's draft mode.
    assert np.abs(inside - means).mean() < 1.5


def test_shrunk_images_are_upright_and_limited() -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = encoded(picture(64, 96), "JPEG", exif=exif.tobytes(), quality=95)
    turned = images.load(data, shrink=2)
    assert turned.shape == (48, 32, 3)
    whole = images.load(data).reshape(48, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(turned - whole).mean() < 4
    with pytest.raises(InputError, match="1/3"):
        images.load(data, shrink=3)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="truncated"):
        images.load(data[: len(data) // 2], shrink=2)


def test_decoded_images_lie_in_the_pool() -> None:
    pool = vedette.memory.default_pool()
    data = encoded(picture(300, 400), "PNG")
    before = pool.stats().current_bytes
    image = images.load(data)
    assert pool.stats().current_bytes >= before + 300 * 400 * 3
    address = image.ctypes.data
    del image
    assert pool.stats().current_bytes == before
    assert images.load(data).ctypes.data == address
