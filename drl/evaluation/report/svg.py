"""Small pieces of SVG: scales, ticks, text. Colours and fonts come from the report's style sheet by class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

WIDTH = 760


@dataclass(frozen=True)
class Scale:
    """A linear map from data to drawing units; a domain without extent maps to the middle."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where ``value`` is drawn."""
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @classmethod
    def around(cls, values: list[float], start: float, end: float, *, padding: float = 0.04) -> Scale:
        """A scale that holds all ``values`` with a little air on both sides."""
        low, high = min(values), max(values)
        air = (high - low) * padding or abs(high) * 0.5 or 1.0
        return cls(low - air, high + air, start, end)

    def ticks(self, count: int = 6) -> list[float]:
        """At most about ``count`` round numbers inside the domain."""
        extent = self.high - self.low
        power = 10.0 ** math.floor(math.log10(extent / count))
        step = next(power * f for f in (1, 2, 5, 10) if extent / (power * f) <= count)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [index * step for index in range(first, last + 1)]


def number(value: float, *, sign: bool = False) -> str:
    """A number for people: about three significant digits, thousands apart, a real minus sign."""
    size = abs(value)
    digits = 0 if size >= 100 or size == 0 else min(4, 2 - math.floor(math.log10(size)))
    text = f"{size:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    if not any(c in "123456789" for c in text):
        return text
    if value < 0:
        return f"\N{MINUS SIGN}{text}"
    return f"+{text}" if sign else text


def tag(name: str, content: str = "", **attributes: str | float) -> str:
    """An element; ``class_`` is ``class`` and underscores are hyphens. ``content`` is already escaped."""
    words = [name]
    for key, value in attributes.items():
        text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        words.append(f'{key.rstrip("_").replace("_", "-")}="{escape(text)}"')
    return f"<{' '.join(words)}>{content}</{name}>"


def text(x: float, y: float, words: str, *, class_: str = "", anchor: str = "start") -> str:
    """Text with its baseline at (x, y)."""
    return tag("text", escape(words), x=float(x), y=float(y), class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """A straight line."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def path(points: list[tuple[float, float]], class_: str, *, closed: bool = False) -> str:
    """A polyline, or the area that it encloses."""
    steps = " ".join(f"{'M' if i == 0 else 'L'}{x:.2f} {y:.2f}" for i, (x, y) in enumerate(points))
    return tag("path", d=steps + (" Z" if closed else ""), class_=class_)


def drawing(title: str, description: str, height: float, parts: list[str]) -> str:
    """A drawing as wide as the page, with a title and a description for those who do not see it."""
    name = f"chart-{title.lower().replace(' ', '-')}"
    heading = tag("title", escape(title), id=f"{name}-title")
    words = tag("desc", escape(description), id=f"{name}-description")
    return tag(
        "svg",
        "\n".join([heading, words, *parts]),
        viewBox=f"0 0 {WIDTH} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-description",
    )


def horizontal_axis(scale: Scale, top: float, bottom: float, label: str) -> list[str]:
    """Hairlines from ``top`` to ``bottom`` at the ticks, numbers below, the label at the right end."""
    parts = []
    for tick in scale.ticks():
        parts.append(line(scale(tick), top, scale(tick), bottom, "grid"))
        parts.append(text(scale(tick), bottom + 16, number(tick), class_="tick", anchor="middle"))
    parts.append(text(scale.end, bottom + 34, label, class_="label", anchor="end"))
    return parts


def vertical_axis(scale: Scale, left: float, right: float, label: str, *, count: int = 5) -> list[str]:
    """Hairlines from ``left`` to ``right`` at the ticks, numbers on the left, the label above."""
    parts = []
    for tick in scale.ticks(count):
        parts.append(line(left, scale(tick), right, scale(tick), "grid"))
        parts.append(text(left - 8, scale(tick) + 4, number(tick), class_="tick", anchor="end"))
    parts.append(text(left, scale.end - 12, label, class_="label"))
    return parts
