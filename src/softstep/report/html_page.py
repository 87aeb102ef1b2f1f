"""The HTML of every report: one self-contained file, light or dark as the reader's browser is."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1c1917; --page: #fff; --muted: #57534e; --line: #e7e5e4;
        --panel: #f5f5f4; --good: 0, 114, 178; --bad: 213, 94, 0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f2f0ee; --page: #141416; --muted: #b5b0aa; --line: #35353a; --panel: #222226;
          --good: 86, 180, 233; --bad: 240, 116, 62 } }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem;
       color: var(--ink); background: var(--page) }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px }
td, th { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid var(--line) }
th { color: var(--muted); font-weight: 600; white-space: nowrap }
.wide { overflow-x: auto }
.formula { background: var(--panel); padding: .6rem 1rem; border-radius: .4rem; overflow-x: auto;
           font: 17px/1.6 Cambria, "STIX Two Text", "Latin Modern Math", Georgia, serif }
.note, figcaption { color: var(--muted); font-size: 14px }
figure { margin: 1rem 0 } img, .picture svg { max-width: 100%; height: auto }
img { width: 750px }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem } .pictures figure { margin: 0 }
svg .above { fill: rgb(var(--good)) } svg .below { fill: rgb(var(--bad)) }
.picture svg { border: 1px solid var(--line) }
.right { background: rgba(var(--good), .25) }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A complete page with these parts as its body; `title` is plain text."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def section(title: str, *parts: str) -> str:
    """A section of the page with a heading; the parts are HTML."""
    return f"<section><h2>{escape(title)}</h2>\n" + "\n".join(parts) + "</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """A table: a head of HTML, rows of plain text with their names first, a CSS class for each."""
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    for k, (name, *cells) in enumerate(rows):
        kind = f' class="{classes[k]}"' if classes and classes[k] else ""
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f"<tr{kind}><th>{escape(name)}</th>{values}</tr>")
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def figure(light: bytes, dark: bytes, caption: str) -> str:
    """A picture as two PNG files, of which the browser shows one; `caption` is plain text."""
    sources = [f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in (light, dark)]
    text = escape(caption)
    return (
        '<figure><picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="{sources[1]}"><img src="{sources[0]}" alt="{text}"></picture>'
        f"<figcaption>{text}</figcaption></figure>"
    )
