"""The figures, as inline SVG that follows the page's light or dark colours.

Altair declares a chart, vl-convert draws it in process: no browser, no network. Colours below are those of the light
page; report.css repaints them by attribute ([fill="#..."]), which a rule of a style sheet may do, so that one drawing
serves light, dark and paper.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

# As in report.css: a colour here that is not repainted there stays light on a dark page.
INK, SOFT, GRID = "#23282f", "#5d6570", "#dcdfe4"
COLOURS = {"base": "#717883", "instruct": "#7b5ea7", "sft": "#b5541c", "dpo": "#1f6aa5"}
SHAPES = {"base": "circle", "instruct": "square", "sft": "triangle-up", "dpo": "diamond"}
CHOSEN, REJECTED = "#1f6aa5", "#b5541c"
FAINT = 0.35
MARKED = 60
"""Up to so many steps every step is a mark that can be read out; a longer curve is a line alone."""

Row = Mapping[str, Any]


def curve(
    frame: Sequence[Row],
    measure: str,
    heading: str,
    colour: str,
    *,
    name: str,
    title: str,
    held_out: Sequence[Row] = (),
    limit: float | None = None,
) -> str:
    """One measure over training steps, as SVG; a thin line as logged, a firm one smoothed, a dashed one held out.

    Args:
        frame: one mapping a step: ``step`` and the measure; None where a step did not log one.
        measure: the column to draw.
        heading: what stands above the panel.
        colour: one that report.css repaints.
        name: prefix of every id inside the drawing, so that several can stand on one page.
        title: what the figure shows, for who cannot see it.
        held_out: the same measure on rows that are not trained on, where it was taken.
        limit: a level that ends the run, as a dotted line.
    """
    import altair as alt

    logged = [row for row in frame if row.get(measure) is not None]
    values = [
        {"step": row["step"], "value": row[measure], "smooth": smooth}
        for row, smooth in zip(logged, smoothed([row[measure] for row in logged]), strict=True)
    ]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=4, tickMinStep=1)),
    )
    scale, axis = alt.Scale(zero=False, nice=True), alt.Axis(tickCount=4)
    raw = base.encode(y=alt.Y("value:Q", title=None, scale=scale, axis=axis))
    layers = [
        raw.mark_line(color=colour, strokeWidth=1.1, opacity=FAINT),
        base.mark_line(color=colour, strokeWidth=2).encode(y=alt.Y("smooth:Q", title=None)),
    ]
    if len(values) <= MARKED:
        layers.append(raw.mark_point(color=colour, filled=True, size=16, opacity=0.75))
    seen = [
        {"step": row["step"], "value": row[measure], "smooth": row[measure]}
        for row in held_out
        if row.get(measure) is not None
    ]
    if seen:
        apart = alt.Chart(alt.Data(values=seen)).encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=4, tickMinStep=1)),
            y=alt.Y("value:Q", title=None, scale=scale, axis=axis),
        )
        layers.append(apart.mark_line(color=colour, strokeWidth=1.6, strokeDash=[5, 3]))
        layers.append(apart.mark_point(color=colour, filled=False, size=44, strokeWidth=1.6))
    if limit is not None:
        level = alt.Chart(alt.Data(values=[{"value": limit}])).encode(y=alt.Y("value:Q", title=None, scale=scale))
        layers.append(level.mark_rule(color=SOFT, strokeDash=[2, 3]))
    chart = alt.layer(*layers).properties(
        width=216, height=130, title=alt.TitleParams(heading, anchor="start", fontSize=12, offset=8)
    )
    return _svg(chart, name, title)


def intervals(rows: Sequence[Row], *, name: str, title: str, unit: str = "share", width: int = 300) -> str:
    """One point and its 95 % interval a row, as SVG: a share or score by label.

    Args:
        rows: ``label``, ``group`` (a model or kind of text, which gives colour and shape), ``value``,
            ``low``, ``high``.
        name: prefix of every id inside the drawing.
        title: what the figure shows, for who cannot see it.
        unit: "share" puts a per cent axis from 0 under the points, "change" one of points of per cent with a line at 0.
        width: of the plot without its labels, in pixels.
    """
    import altair as alt

    order = [str(row["label"]) for row in rows]
    values = [dict(row) for row in rows]
    groups = list(dict.fromkeys(str(row["group"]) for row in rows))
    colours = [COLOURS.get(group, INK) for group in groups]
    high = max([float(row["high"]) for row in rows] + [0.05])
    low = min([float(row["low"]) for row in rows] + [-0.05])
    scale = alt.Scale(zero=False)
    if unit == "share":
        scale = alt.Scale(domain=[0, min(1.0, high * 1.08)])
    elif unit == "change":
        scale = alt.Scale(domain=[low * 1.08, high * 1.08])
    base = alt.Chart(alt.Data(values=values)).encode(
        y=alt.Y(
            "label:N", sort=order, title=None, axis=alt.Axis(labelLimit=260, ticks=False, domain=False, labelPadding=10)
        ),
        color=alt.Color("group:N", scale=alt.Scale(domain=groups, range=colours), legend=None),
    )
    form = {"share": ".0%", "change": "+.0%"}.get(unit, "~g")
    axis = alt.Axis(format=form, tickCount=5)
    rule = base.mark_rule(strokeWidth=2, opacity=0.55).encode(
        x=alt.X("low:Q", scale=scale, axis=axis, title=None), x2="high:Q"
    )
    point = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("value:Q", scale=scale),
        shape=alt.Shape(
            "group:N",
            scale=alt.Scale(domain=groups, range=[SHAPES.get(group, "circle") for group in groups]),
            legend=None,
        ),
    )
    layers = [rule, point]
    if unit == "change":
        layers.insert(
            0, alt.Chart(alt.Data(values=[{"at": 0}])).mark_rule(color=SOFT).encode(x=alt.X("at:Q", scale=scale))
        )
    chart = alt.layer(*layers).properties(width=width, height=alt.Step(24))
    return _svg(chart, name, title, left=48)


def smoothed(values: Sequence[float | None], span: int | None = None) -> list[float | None]:
    """The centred running mean over ``span`` logged values, for the eye; the raw line always stands behind it.

    >>> smoothed([1.0, 2.0, 6.0], 3)
    [1.5, 3.0, 4.0]
    """
    span = max(1, len(values) // 12) if span is None else span
    reach = span // 2
    found: list[float | None] = []
    for place, value in enumerate(values):
        near = [v for v in values[max(0, place - reach) : place + reach + 1] if v is not None]
        found.append(None if value is None or not near else sum(near) / len(near))
    return found


def _svg(chart: Any, name: str, title: str, *, left: int = 20) -> str:
    import vl_convert

    styled = chart.configure(
        background="transparent",
        font="system-ui, sans-serif",
        axis={
            "labelColor": SOFT,
            "titleColor": SOFT,
            "gridColor": GRID,
            "domainColor": GRID,
            "tickColor": GRID,
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
        },
        title={"color": INK, "fontWeight": 600},
        view={"stroke": None},
        padding={
            "left": left,
            "right": 8,
            "top": 4,
            "bottom": 4,
        },  # fonts of the page run wider than those it is drawn with
    )
    svg: str = vl_convert.vegalite_to_svg(styled.to_dict())
    return _inlined(svg, name, title)


def _inlined(svg: str, name: str, title: str) -> str:
    """The drawing for a page: ids of its own, a size that follows the page, a name that is read out."""
    svg = svg[svg.index("<svg") :]
    for found in sorted(set(re.findall(r'\bid="([^"]+)"', svg)), key=len, reverse=True):
        svg = re.sub(rf'(id="|url\(#|href="#){re.escape(found)}(?=["\)])', rf"\g<1>{name}-{found}", svg)
    head, body = svg.split(">", 1)
    size = re.search(r'width="([\d.]+)"', head)
    head = re.sub(r'\s(?:width|height|role|aria-label|xmlns:xlink|version)="[^"]*"', "", head)
    width = f' style="max-width:{size[1]}px"' if size else ""
    label = escape(title, quote=True)
    return f'{head} role="img" aria-labelledby="{name}-title"{width}><title id="{name}-title">{label}</title>{body}'


def png(svg: str) -> bytes:
    """A drawing of this module as PNG, twice its size on the page, on white."""
    import vl_convert

    head, body = svg.split(">", 1)
    x, y, width, height = re.search(r'viewBox="([^"]*)"', head)[1].split()  # type: ignore[index]
    ground = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="#ffffff"/>'
    sized = re.sub(r'style="[^"]*"', f'width="{width}" height="{height}"', head)
    found: bytes = vl_convert.svg_to_png(f"{sized}>{ground}{body}", scale=2)
    return found
