"""What was seen, when and where: one SQLite file with full-text search, that survives crashes and can
forget.
"""

from vedette.store.opening import default_path
from vedette.store.records import Match, Period, Sighting, StoreStats
from vedette.store.store import Store

__all__ = ["Match", "Period", "Sighting", "Store", "StoreStats", "default_path"]
