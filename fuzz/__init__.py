"""Fuzz targets for whatever parses bytes from outside: images, ONNX files, saved models, recipes,
programs of the native engine.

Each target is a function of bytes that may raise nothing but ``VedetteError``. Run one as long as you wish:

    python -m fuzz image                      # until something is found
    python -m fuzz model -runs=100000         # bounded; any libFuzzer option goes
"""
