"""What PyInstaller packs of the package besides the modules: its data files.

Modules need no list: each import of the package is a statement somewhere, and the analysis of a program finds those.
"""

# PyInstaller reads these names. It runs this file by itself: it is not a module of the package.
from PyInstaller.utils.hooks import (  # type: ignore[import-untyped]
    collect_data_files,
    copy_metadata,
)

datas = [
    *collect_data_files("openai_meter", includes=["**/*.toml", "**/*.js", "**/*.css", "**/*.svg", "**/*.html"]),
    *collect_data_files("genai_prices"),
    *copy_metadata("genai-prices"),
]
