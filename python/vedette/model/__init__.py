"""Models: read from ONNX, rewritten pass by pass, and run by the native engine.

``load`` gives a :class:`Model`; ``inspect`` shows its graph before and after the rewriting.
"""

from vedette.model.image_input import ImageInput
from vedette.model.inspection import Inspection, inspect
from vedette.model.integer.recipe import Recipe, read_recipe
from vedette.model.integer.report import NodeReport, Report
from vedette.model.model import Model, Port, load
from vedette.model.profile import Profile, ProfileEntry
from vedette.model.sequential import Sequential

__all__ = [
    "ImageInput",
    "Inspection",
    "Model",
    "NodeReport",
    "Port",
    "Profile",
    "ProfileEntry",
    "Recipe",
    "Report",
    "Sequential",
    "inspect",
    "load",
    "read_recipe",
]
