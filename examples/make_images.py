"""Draw the example images, and beside each a text file with the words that are in it.

    python examples/make_images.py [FOLDER]

Everything is drawn here, with the font that Pillow carries and a fixed seed.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

RECEIPT = [
    "CORNER STREET GROCERY",
    "14 Harbour Road, Unit 3",
    "Tel 555-0142",
    "",
    "Invoice 2026-00317",
    "Date 21/03/2026  09:47",
    "",
    "2 x Rye bread           7.80",
    "1 x Olive oil 500 ml   11.25",
    "6 x Free range eggs     4.10",
    "1 x Coffee beans 250 g  8.95",
    "3 x Lemon               1.20",
    "",
    "Subtotal               33.30",
    "VAT 7 %                 2.33",
    "TOTAL EUR              35.63",
    "",
    "Card ending 4471",
    "Thank you, see you soon!",
]

CODE = [
    ("comment", "# Watch a folder and report what is new."),
    ("keyword", "from pathlib import Path"),
    ("plain", ""),
    ("keyword", "def newest(folder: Path, count: int = 10):"),
    ("comment", "    # Files only; the latest comes first."),
    ("plain", "    found = [p for p in folder.iterdir() if p.is_file()]"),
    ("plain", "    found.sort(key=lambda p: p.stat().st_mtime)"),
    ("keyword", "    return found[::-1][:count]"),
    ("plain", ""),
    ("keyword", "for path in newest(Path.home()):"),
    ("string", '    print(f"{path.name:30} {path.stat().st_size}")'),
]
CODE_COLORS = {
    "plain": (212, 212, 212),
    "comment": (106, 153, 85),
    "keyword": (86, 156, 214),
    "string": (206, 145, 120),
}

NOTE = [
    "Meeting moved to Thursday",
    "Room 204, second floor",
    "Bring the signed contract",
    "and two spare batteries.",
    "Call Maria: 555-0198",
]

TABLE = [
    ["Station", "Opened", "Platforms", "Passengers", "Delay (min)"],
    ["Northgate", "1887", "12", "41,200", "3.5"],
    ["Riverside", "1912", "4", "9,875", "1.2"],
    ["Old Market", "1934", "6", "18,430", "0.8"],
    ["University", "1978", "2", "26,019", "2.1"],
    ["Airport", "2003", "3", "33,764", "4.9"],
    ["Stadium", "2011", "4", "7,552", "0.4"],
]


def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that Pillow carries, at this size in pixels."""
    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise SystemExit("this Pillow was built without FreeType; install the wheel from PyPI")
    return found


def receipt() -> Image.Image:
    """A till receipt: gray paper, faint uneven ink, a little noise, not quite straight."""
    image = Image.new("L", (460, 70 + 34 * len(RECEIPT)), 238)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(RECEIPT):
        # Amounts stand in a column of their own at the right edge.
        item, _, amount = line.rpartition("  ") if line[-1:].isdigit() and "  " in line else (line, "", "")
        draw.text((32, 34 + 34 * row), item.strip(), font=font(22), fill=60)
        draw.text((428, 34 + 34 * row), amount.strip(), font=font(22), fill=60, anchor="ra")
    image = image.rotate(0.7, Image.Resampling.BICUBIC, fillcolor=238)
    pixels = np.asarray(image, np.float32)
    rng = np.random.default_rng(7)
    fade = np.linspace(0.0, 26.0, pixels.shape[0], dtype=np.float32)[:, None] * (pixels < 200)
    return Image.fromarray(np.clip(pixels + fade + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8))


def code() -> Image.Image:
    """A dark editor."""
    image = Image.new("RGB", (900, 60 + 32 * len(CODE)), (30, 30, 30))
    draw = ImageDraw.Draw(image)
    for row, (kind, line) in enumerate(CODE):
        draw.text((24, 30 + 32 * row), str(row + 1), font=font(16), fill=(110, 110, 110))
        indent = len(line) - len(line.lstrip())
        draw.text((64 + 9 * indent, 28 + 32 * row), line.strip(), font=font(19), fill=CODE_COLORS[kind])
    return image


def note() -> Image.Image:
    """A card photographed at an angle."""
    card = Image.new("RGB", (560, 330), (250, 240, 190))
    draw = ImageDraw.Draw(card)
    for row, line in enumerate(NOTE):
        draw.text((40, 36 + 54 * row), line, font=font(32), fill=(40, 50, 110))
    desk = Image.new("RGB", (760, 560), (96, 78, 62))
    shape = Image.new("L", card.size, 255).rotate(12, Image.Resampling.BICUBIC, expand=True)
    desk.paste(card.rotate(12, Image.Resampling.BICUBIC, expand=True), (60, 60), shape)
    return desk.filter(ImageFilter.GaussianBlur(0.6))


def table() -> Image.Image:
    """A ruled table."""
    widths, height = [190, 130, 150, 170, 170], 46
    image = Image.new("RGB", (sum(widths) + 40, height * len(TABLE) + 40), "white")
    draw = ImageDraw.Draw(image)
    for row, cells in enumerate(TABLE):
        left, top = 20, 20 + height * row
        for column, cell in enumerate(cells):
            fill = (225, 232, 242) if row == 0 else "white"
            right = left + widths[column]
            draw.rectangle((left, top, right, top + height), fill=fill, outline=(150, 150, 150))
            if column == 0:
                draw.text((left + 14, top + 11), cell, font=font(20), fill="black")
            else:
                draw.text((right - 14, top + 11), cell, font=font(20), fill="black", anchor="ra")
            left = right
    return image


def main(folder: Path) -> None:
    """Write the images and the words in them."""
    folder.mkdir(parents=True, exist_ok=True)
    receipt().save(folder / "receipt.png", optimize=True)
    code().save(folder / "code.png", optimize=True)
    table().save(folder / "table.png", optimize=True)
    # The camera was held sideways: the pixels are turned, and EXIF orientation 6 says how to turn them back.
    exif = Image.Exif()
    exif[0x0112] = 6
    note().transpose(Image.Transpose.ROTATE_90).save(folder / "note.jpg", quality=88, exif=exif)
    texts = {
        "receipt": RECEIPT,
        "code": [line for _, line in CODE],
        "note": NOTE,
        "table": [" ".join(cells) for cells in TABLE],
    }
    for name, lines in texts.items():
        words = "\n".join(" ".join(line.split()) for line in lines if line)
        (folder / f"{name}.txt").write_text(words + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
