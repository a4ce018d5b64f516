"""Where frames come from: images, growing folders, videos and streams, cameras, screens, arrays."""

from vedette.sources.arrays import Arrays, Pushed
from vedette.sources.frame import Frame
from vedette.sources.images import Folder, Images
from vedette.sources.live import Latest
from vedette.sources.opening import open_source
from vedette.sources.screen import Screen
from vedette.sources.source import Source, SourceEnded
from vedette.sources.video import Camera, Stream, Video

__all__ = [
    "Arrays",
    "Camera",
    "Folder",
    "Frame",
    "Images",
    "Latest",
    "Pushed",
    "Screen",
    "Source",
    "SourceEnded",
    "Stream",
    "Video",
    "open_source",
]
