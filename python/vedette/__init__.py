"""Always-on computer vision for ordinary CPUs."""

from vedette.errors import VedetteError

__all__ = ["VedetteError"]
