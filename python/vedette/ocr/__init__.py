"""Reading text: find the lines of an image, straighten them, recognise them, put them in order."""

from vedette.ocr.page import Line, Page, Word
from vedette.ocr.reader import Reader

__all__ = ["Line", "Page", "Reader", "Word"]
