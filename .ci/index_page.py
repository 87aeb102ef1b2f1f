"""The page of the package on an index: README.md, with links that lead to the repository.

hatchling calls it when it builds. The repository's address stands in pyproject.toml alone.
"""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK, IMAGE = (re.compile(rf"({start})(?!https?:|#)") for start in (r"\]\(", '(?:src|srcset)="'))


class IndexPage(MetadataHookInterface):
    def update(self, metadata):
        repository = metadata["urls"]["Source"]
        files = repository.replace("github.com", "raw.githubusercontent.com")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = LINK.sub(rf"\1{repository}/blob/main/", text)
        text = IMAGE.sub(rf"\1{files}/main/", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
