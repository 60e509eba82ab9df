"""The page as one file that opens from disk: its styles, scripts and networks inside, no server."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("page")
STYLE = re.compile(r'<link rel="stylesheet" href="([\w.]+)">\n?')
SCRIPT = re.compile(r'<script src="([\w.]+)" defer></script>\n?')
FIRST = ("network.js", "picture.js", "alone.js")  # what answers in place of mnist-demo
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def standalone(facts: Mapping[str, Any], network: str, doubt: Mapping[str, Any]) -> str:
    """The page with everything that it needs, and leave to load nothing.

    What comes from a run is in it as JSON and becomes text there, never markup; nothing but the
    scripts of this package may run.

    Args:
        facts: what mnist-demo would say of the network.
        network: its `drawing.network.description`.
        doubt: its `drawing.doubt.doubt`; empty where that is not known.
    """
    html = (FOLDER / "index.html").read_text()
    styles = [(FOLDER / name).read_text() for name in STYLE.findall(html)]
    names = dict.fromkeys((*FIRST, *SCRIPT.findall(html)))
    scripts = [(FOLDER / name).read_text() for name in names]
    html = SCRIPT.sub("", STYLE.sub("", html))
    policy = POLICY.format(scripts=hashes(scripts), styles=hashes(styles))
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    head += "".join(f"<style>{style}</style>\n" for style in styles)
    texts = {"facts": json.dumps(facts), "inside": network, "doubt": json.dumps(doubt)}
    tail = ""
    for name, text in texts.items():
        escaped = text.replace("<", "\\u003c")
        tail += f'<script type="application/json" id="{name}">{escaped}</script>\n'
    tail += "".join(f"<script>{script}</script>\n" for script in scripts)
    start, meta, rest = html.partition('<meta charset="utf-8">\n')
    body, end_of_body, end = rest.rpartition("</body>")
    assert meta
    assert end_of_body
    return "".join((start, meta, head, body, tail, end_of_body, end))


def hashes(texts: list[str]) -> str:
    """What a content security policy calls these texts by."""
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
