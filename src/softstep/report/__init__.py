"""Reports: pages, texts and figures of what was trained."""
