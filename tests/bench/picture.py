"""The medians as bars, in SVG: what arrives, next to how long it takes."""

from xml.sax.saxutils import escape

CHARTS = (("tcp1_mbit", "TCP, one connection, Mbit/s"), ("udp64_pps", "UDP of 64 bytes, packets/s"),
          ("rtt_p50_us", "round trip, median, µs (less is better)"))
NAME_WIDTH, BAR_WIDTH, NUMBER_WIDTH, LINE = 270, 360, 80, 20
WIDTH = NAME_WIDTH + BAR_WIDTH + NUMBER_WIDTH

STYLE = """
  text { font: 13px sans-serif; fill: #24292f } .title { font-weight: bold }
  rect { fill: #8c959f } .tsg { fill: #0969da } .ground { fill: #ffffff }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ground { fill: #0d1117 } .tsg { fill: #4493f8 } }
"""


def picture(rows):
    parts, y = [], LINE
    for column, title in CHARTS:
        measured = [row for row in rows if row[column]]
        most = max((row[column] for row in measured), default=1)
        parts.append(f'<text class="title" x="8" y="{y}">{escape(title)}</text>')
        for row in measured:
            y += LINE
            width = max(1, BAR_WIDTH * row[column] / most)
            mine = ' class="tsg"' if row["name"].startswith("tsg") else ""
            parts.append(f'<text x="8" y="{y}">{escape(row["name"])}</text>')
            parts.append(f'<rect{mine} x="{NAME_WIDTH}" y="{y - 12}" width="{width:.1f}" height="14"/>')
            parts.append(f'<text x="{NAME_WIDTH + width + 6:.1f}" y="{y}">{row[column]:,.0f}</text>')
        y += 2 * LINE
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" '
            f'aria-label="TSG beside its peers">\n<style>{STYLE}</style>\n'
            f'<rect class="ground" width="{WIDTH}" height="{y}"/>\n' + "\n".join(parts) + "\n</svg>\n")
