"""A report as one HTML file that needs no network: style, script and drawings inside it."""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compressor.report.page import Report

TEMPLATE_FOLDER = Path(__file__).parent


def render(report: Report) -> str:
    """The whole page; every name in it is escaped by the template."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    script = (TEMPLATE_FOLDER / "page.js").read_text(encoding="utf-8")
    return template.render(report=report, script=Markup(script), script_hash=_hash(script))


def _hash(script: str) -> str:
    """What the page's policy knows its one script by; no other may run."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
