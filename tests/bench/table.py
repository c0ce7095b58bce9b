"""The numbers as a table of text: medians with their spread, and as ratios to the plain bridge and to fastd."""

PLAIN = "plain on"
FASTD = "fastd aes128-gcm"

# Column, heading, digits behind the point.
SHOWN = (
    ("tcp1_mbit", "TCP 1", 0), ("tcp4_mbit", "TCP 4", 0), ("udp64_pps", "UDP 64", 0), ("udp512_pps", "UDP 512", 0),
    ("rtt_p50_us", "rtt p50", 0), ("rtt_p99_us", "p99", 0), ("rtt_p999_us", "p99.9", 0),
    ("loaded_rtt_p50_us", "loaded p50", 0), ("loaded_rtt_p99_us", "p99", 0), ("loaded_rtt_p999_us", "p99.9", 0),
    ("cpu_s_per_gb", "CPU s/GB", 2), ("rss_mb", "RSS MB", 1),
)
HEADINGS = ["", *(heading for _, heading, _ in SHOWN)]


def table(rows):
    units = "TCP in Mbit/s, UDP in packets/s, round trips in µs; ± half of what lies between the rounds"
    return "\n\n".join((
        f"{units}\n{_lines(_medians(rows))}",
        f"as ratios to: {PLAIN}\n{_lines(_ratios(rows, PLAIN))}",
        f"as ratios to: {FASTD}\n{_lines(_ratios(rows, FASTD))}",
    ))


def _medians(rows):
    yield HEADINGS
    for row in rows:
        yield [row["name"], *(_number(row, column, digits) for column, _, digits in SHOWN)]


def _number(row, column, digits):
    value = row[column]
    if value is None:
        return "–"
    spread = row["spread"].get(column, 0)
    return f"{value:.{digits}f} ±{spread:.0%}"


def _ratios(rows, to):
    base = next((row for row in rows if row["name"] == to), None)
    yield HEADINGS
    for row in rows:
        yield [row["name"], *(_ratio(row[column], base and base[column]) for column, _, _ in SHOWN)]


def _ratio(value, base):
    return f"{value / base:.2f}" if value is not None and base else "–"


def _lines(cells):
    cells = list(cells)
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                               for at, (cell, width) in enumerate(zip(row, widths))).rstrip()
                     for row in cells)
