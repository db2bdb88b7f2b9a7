"""What PyInstaller packs of the package: its data files, and the modules that are imported late."""

# PyInstaller reads these names. It runs this file by itself: it is not a module of the package.
from PyInstaller.utils.hooks import (  # type: ignore[import-untyped]
    collect_data_files,
    collect_submodules,
    copy_metadata,
)

_OUTSIDE = (".cli", ".testing", ".examples", ".docs", ".pytest_plugin", ".notebook", ".core.pyinstaller")
"""What a program does not import. What it does import of them is packed by the analysis of the program."""

hiddenimports = collect_submodules(
    "openai_meter", filter=lambda name: not name.startswith(tuple(f"openai_meter{part}" for part in _OUTSIDE))
)
datas = [
    *collect_data_files("openai_meter", includes=["**/*.toml", "**/*.js", "**/*.css", "**/*.svg", "**/*.html"]),
    *collect_data_files("genai_prices"),
    *copy_metadata("genai-prices"),
]
