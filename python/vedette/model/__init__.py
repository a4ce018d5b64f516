"""Models: read from ONNX, rewritten pass by pass, and run by the native engine.

``load`` gives a :class:`Model`; ``inspect`` shows its graph before and after the rewriting.
"""

from vedette.model.inspection import Inspection, inspect
from vedette.model.model import Model, Port, load
from vedette.model.profile import Profile, ProfileEntry

__all__ = ["Inspection", "Model", "Port", "Profile", "ProfileEntry", "inspect", "load"]
