"""One offline HTML page per gate: a table of expectations, ids, numbers; no text of the artifact, no CDN."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>gate {artifact}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #ddd; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
tr.failed td:first-child {{ border-left: 4px solid #b3261e; }}
tr.warning td:first-child {{ border-left: 4px solid #b37400; }}
tr.unchecked {{ color: #666; }} code {{ font-size: 12px; overflow-wrap: anywhere; }}
</style></head><body>
<h1>Gate {artifact}: {verdict}</h1>
<p>{n_rows} rows; {n_checks} expectations, {n_failed} failed, {n_warnings} warnings. Mode: {mode}.
Invariants have no tolerance. Fitness and record shares fail only when the Wilson bound (95 %) passes the threshold.</p>
<table><thead><tr><th>result</th><th>expectation</th><th>kind</th><th>observed</th><th>bound</th><th>threshold</th><th>n</th>
<th>bad</th><th>worst ids</th></tr></thead><tbody>
"""


def page(artifact: str, mode: str, n_rows: int, n_failed: int, detail: Sequence[Mapping[str, Any]]) -> str:
    """The page as HTML; what did not pass stands at its top."""
    rows = []
    order = ("failed", "warning", "unchecked", "passed")
    for entry in sorted(detail, key=lambda entry: order.index(word(entry))):
        result = word(entry)
        error = f"<br><em>{html.escape(str(entry['error']))}</em>" if entry["error"] else ""
        about = f"<br><code>{html.escape(entry['expectation'])} {html.escape(str(entry['column'] or ''))}</code>"
        cells = [
            f"<td>{result}</td><td>{html.escape(entry['words'])}{about}{error}</td><td>{entry['kind']}</td>",
            *(
                f'<td class="n">{html.escape(shown(entry[key]))}</td>'
                for key in ("observed", "bound", "threshold", "n", "n_bad")
            ),
            f"<td><code>{html.escape(' '.join(entry['worst_ids']))}</code></td>",
        ]
        rows.append(f'<tr class="{result.replace(" ", "")}">{"".join(cells)}</tr>')
    head = _HEAD.format(
        artifact=html.escape(artifact),
        verdict="passed" if n_failed == 0 else "FAILED",
        n_rows=n_rows,
        n_checks=len(detail),
        n_failed=n_failed,
        n_warnings=sum(word(entry) == "warning" for entry in detail),
        mode=html.escape(mode),
    )
    return head + "\n".join(rows) + "\n</tbody></table></body></html>\n"


def word(entry: Mapping[str, Any]) -> str:
    """passed, failed, warning or unchecked."""
    if entry["passed"] is None:
        return "unchecked"
    return "passed" if entry["passed"] else "warning" if entry["severity"] == "warning" else "failed"


def shown(value: Any) -> str:
    """A number, a range or nothing, as a reader wants it.

    >>> shown([1, None]), shown(0.25), shown(None), shown(3)
    ('>= 1', '0.25', '', '3')
    """
    if value is None:
        return ""
    if isinstance(value, list):
        least, most = value
        if least is None or most is None:
            return "any" if least == most else f">= {shown(least)}" if most is None else f"<= {shown(most)}"
        return f"{shown(least)} to {shown(most)}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
