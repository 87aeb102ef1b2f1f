"""What the site needs of the pages as they are in the repository.

The README is the site's first page, and links that leave docs/ lead to the repository, whose
address is in pyproject.toml.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

BRANCH = "blob/main"


def on_config(config: Any) -> Any:
    """Where the site and the repository are."""
    project = Path(config.config_file_path).with_name("pyproject.toml").read_text(encoding="utf-8")
    urls = tomllib.loads(project)["project"]["urls"]
    config.site_url, config.repo_url = f"{urls['Documentation']}/", urls["Source"]
    config.repo_name = config.site_name
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the first page."""
    from mkdocs.structure.files import File

    readme = Path(config.config_file_path).with_name("README.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\((?!https?:|#|docs/)", f"]({config.repo_url}/{BRANCH}/", readme)
    text = re.sub(r"""(\]\(|(?:src|srcset)=")docs/""", r"\1", text)
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Links such as ../kernels/ops.py, on the page of the repository."""
    return re.sub(r"\]\(\.\./(?!api/)", f"]({config.repo_url}/{BRANCH}/", markdown)
