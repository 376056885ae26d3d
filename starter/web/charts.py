"""Charts as SVG that a screen reader can read out; the page has the same numbers as a table."""

import sys
from collections.abc import Mapping, Sequence

import pygal
from lxml import etree
from pygal.style import Style

# It leaves a finder for its maps behind that later Pythons can't ask; we draw no maps.
sys.meta_path[:] = [one for one in sys.meta_path if type(one).__name__ != "PluginImportFixer"]

SVG = "{http://www.w3.org/2000/svg}"
STYLE = Style(
    background="white", plot_background="white", font_family="sans-serif",
    colors=("#9fb8d1", "#1d5a94", "#b3261e", "#7a5c00"), label_font_size=13, legend_font_size=14,
)  # fmt: skip
WIDTH, LINE = 820, 26  # pixels: of the chart, and a group's bars


def bars(
    title: str, told: str, groups: Sequence[str], series: Mapping[str, Sequence[int]]
) -> bytes:
    """Return horizontal bars, a group a line from the top, in the order given.

    Args:
        title: What the chart shows.
        told: The same in words, for those who can't see it.
        series: A number for each group, by the series' name.
    """
    chart = pygal.HorizontalBar(
        style=STYLE, js=(), pretty_print=False, disable_xml_declaration=True,
        width=WIDTH, height=120 + LINE * max(len(groups), 2), legend_at_bottom=True,
        x_labels=list(reversed(groups)), show_minor_y_labels=True, min_scale=2,
        value_formatter=lambda value: f"{value:g}" if value is not None else "",
    )  # fmt: skip
    chart.uuid = "bars"  # not a random one: the same numbers give the same picture
    for name, numbers in series.items():
        chart.add(name, list(reversed(numbers)))
    tree = chart.render_tree()
    for part in tree.xpath("//comment()"):
        part.getparent().remove(part)
    for part in tree.findall(f"{SVG}title"):
        tree.remove(part)
    tree.set("role", "img")
    tree.set("aria-labelledby", "chart-title chart-desc")
    for place, (name, words) in enumerate((("title", title), ("desc", told))):
        element = etree.Element(f"{SVG}{name}", id=f"chart-{name}")
        element.text = words
        tree.insert(place, element)
    return bytes(etree.tostring(tree, encoding="utf-8", xml_declaration=True))
