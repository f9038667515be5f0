"""Makes the links of README.md absolute in the package's description, where relative ones lead nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[((?:[^\]\[]|\[[^\]]*\])*)\]\((?!https?:|#)([^)]+)\)")


class AbsoluteLinks(MetadataHookInterface):
    """Reads `pages` and `pictures` from `[tool.hatch.metadata.hooks.custom]`: what goes before a path."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Sets the description, which `pyproject.toml` names as dynamic."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": self.absolute(text)}

    def absolute(self, text: str) -> str:
        """The text with links that are absolute."""

        def link(found: re.Match[str]) -> str:
            base = self.config["pictures" if found[1] else "pages"]
            return f"{found[1]}[{found[2]}]({base}{found[3]})"

        return LINK.sub(link, text)
