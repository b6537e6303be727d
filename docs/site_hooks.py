"""What `make site` does besides building docs/: README becomes the first page.

Links to files outside docs/ are shown as the paths they are: the site stands alone, and the
repository's place is not known here.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

# Python-Markdown takes these for headings, GitHub does not.
_NO_HEADING = re.compile(r"^(?=#+[^#\s])", re.MULTILINE)
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds README.md as index.md."""
    text = (Path(config.docs_dir).parent / "README.md").read_text(encoding="utf-8")
    index = _LINK.sub(lambda found: _from_readme(*found.groups()), text)
    files.append(File.generated(config, "index.md", content=index))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that leave docs/ become the path from the repository's root."""
    folder = PurePosixPath(page.file.src_uri).parent
    parts = _FENCED.split(markdown)
    parts[::2] = [_NO_HEADING.sub(r"\\", part) for part in parts[::2]]
    markdown = "".join(parts)
    return _LINK.sub(lambda found: _within(folder, *found.groups()), markdown)


def _from_readme(image: str, text: str, target: str, anchor: str | None) -> str:
    """A link from the repository's root, as one from docs/."""
    if "://" not in target:
        target = target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}"
    return f"{image}[{text}]({target}{anchor or ''})"


def _within(folder: PurePosixPath, image: str, text: str, target: str, anchor: str | None) -> str:
    parts = [*folder.parts, *PurePosixPath(target).parts]
    depth = 0
    for part in parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            path = "/".join(p for p in parts if p != "..")
            return f"{text} (`{path}`)" if text != path else f"`{path}`"
    return f"{image}[{text}]({target}{anchor or ''})"
