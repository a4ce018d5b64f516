"""Where frames come from: images, growing folders, videos and streams, cameras, screens, arrays."""

from vedette.sources.frame import Frame
from vedette.sources.images import Folder, Images
from vedette.sources.opening import open_source
from vedette.sources.source import Source, SourceEnded

__all__ = ["Folder", "Frame", "Images", "Source", "SourceEnded", "open_source"]
