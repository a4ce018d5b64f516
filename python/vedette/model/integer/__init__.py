"""Models in integers: calibration, the integer form of a graph, precision search, recipes."""
