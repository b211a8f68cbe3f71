# SPDX-License-Identifier: MIT
# Line charts as SVG, with nothing but the standard library: as many series as there are colours, linear or logarithmic
# axes. For bench/run.
"""A small writer of line charts."""

import html
import math

COLOURS = ["#1f5fa8", "#c23b22", "#2e7d32", "#8e44ad", "#d68910", "#117a8b", "#5d4037", "#616161"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 84, 200, 46, 54


def short(value):
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


class Axis:
    """Maps values to 0..1, and says where its ticks are."""

    def __init__(self, values, logarithmic, from_zero=False):
        values = [v for v in values if v > 0 or not logarithmic]
        self.logarithmic = logarithmic
        low, high = (min(values), max(values)) if values else (1, 10)
        if logarithmic:
            self.low, self.high = math.floor(math.log10(low)), math.ceil(math.log10(high) + 1e-9)
            self.high = max(self.high, self.low + 1)
        else:
            self.low, self.high = (0 if from_zero else low), high * 1.05 if high > 0 else 1
            self.high = max(self.high, self.low + 1e-9)

    def place(self, value):
        value = math.log10(max(value, 1e-12)) if self.logarithmic else value
        return (value - self.low) / (self.high - self.low)

    def ticks(self):
        if self.logarithmic:
            return [10 ** e for e in range(self.low, self.high + 1)]
        step = 10 ** math.floor(math.log10((self.high - self.low) / 4))
        step = next(step * m for m in (1, 2, 5, 10) if (self.high - self.low) / (step * m) <= 6)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, int(self.high / step) + 1)]


def chart(title, x_name, y_name, series, x_log=False, y_log=False, x_ticks=None):
    """SVG text. series: {name: [(x, y), ...]}; x_ticks: [(x, label), ...] instead of the axis's own."""
    points = [point for line in series.values() for point in line]
    x_axis = Axis([x for x, _ in points], x_log)
    y_axis = Axis([y for _, y in points], y_log, from_zero=True)
    if x_ticks:
        places = [x for x, _ in x_ticks]
        x_axis.low, x_axis.high = (math.log10(min(places)), math.log10(max(places))) if x_log else (
            min(places), max(places))
        x_axis.high = max(x_axis.high, x_axis.low + 1e-9)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at_x(value):
        return LEFT + wide * x_axis.place(value)

    def at_y(value):
        return TOP + high * (1 - y_axis.place(value))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
           f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           f'<text x="{LEFT}" y="24" font-size="16">{html.escape(title)}</text>']
    for value in y_axis.ticks():
        y = at_y(value)
        out.append(f'<path d="M{LEFT} {y:.1f}h{wide}" stroke="#ddd"/><text x="{LEFT - 6}" y="{y + 4:.1f}" '
                   f'text-anchor="end">{short(value)}</text>')
    for value, label in x_ticks or [(value, short(value)) for value in x_axis.ticks()]:
        x = at_x(value)
        out.append(f'<path d="M{x:.1f} {TOP}v{high}" stroke="#eee"/><text x="{x:.1f}" y="{TOP + high + 18}" '
                   f'text-anchor="middle">{html.escape(str(label))}</text>')
    out.append(f'<path d="M{LEFT} {TOP}v{high}h{wide}" fill="none" stroke="#333"/>')
    out.append(f'<text x="{LEFT + wide / 2}" y="{HEIGHT - 12}" text-anchor="middle">{html.escape(x_name)}</text>')
    out.append(f'<text transform="translate(18 {TOP + high / 2}) rotate(-90)" text-anchor="middle">'
               f'{html.escape(y_name)}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
        y = TOP + 14 + 20 * number
        out.append(f'<path d="M{WIDTH - RIGHT + 12} {y - 4}h18" stroke="{colour}" stroke-width="3"/>'
                   f'<text x="{WIDTH - RIGHT + 36}" y="{y}">{html.escape(name)}</text>')
    return "\n".join(out + ["</svg>", ""])
