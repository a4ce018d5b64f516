"""atheris has wheels for Linux on x86-64 alone; elsewhere the fuzz targets are not collected."""

import platform
import sys

if not (sys.platform == "linux" and platform.machine() == "x86_64"):
    collect_ignore_glob = ["*.py"]
