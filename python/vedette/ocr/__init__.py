"""Reading text: find the lines of an image, straighten them, recognise them, put them in order."""

from vedette.ocr.change import Change
from vedette.ocr.incremental import IncrementalReader
from vedette.ocr.page import Line, Page, Word
from vedette.ocr.reader import Reader

__all__ = ["Change", "IncrementalReader", "Line", "Page", "Reader", "Word"]
