"""What the site needs of the pages as they are in the repository.

The README is the site's first page, and links that leave docs/ lead to the repository.
"""

import re
from pathlib import Path
from typing import Any

BRANCH = "blob/main"


def on_files(files: Any, config: Any) -> Any:
    """Adds the first page."""
    from mkdocs.structure.files import File

    readme = Path(config.config_file_path).with_name("README.md").read_text(encoding="utf-8")
    raw = config.repo_url.replace("github.com", "raw.githubusercontent.com")
    text = readme.replace(f"{config.repo_url}/{BRANCH}/docs/", "").replace(f"{raw}/main/docs/", "")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Links such as ../kernels/ops.py, on the page of the repository."""
    return re.sub(r"\]\(\.\./(?!api/)", f"]({config.repo_url}/{BRANCH}/", markdown)
