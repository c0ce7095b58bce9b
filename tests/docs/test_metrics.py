"""The alert rules for Prometheus speak of numbers that the key server has."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = (ROOT / "package/tsg-server/prometheus/tsg.rules.yml").read_text()
SOURCE = (ROOT / "package/tsg-server/src/web/api/metrics.rs").read_text()


def test_every_number_of_a_rule_is_there():
    expressions = re.findall(r"^ +expr: (.*)$", RULES, re.MULTILINE)
    assert len(expressions) == len(re.findall("- alert:", RULES)) > 5
    wanted = set(re.findall(r"\btsg_\w+", " ".join(expressions)))
    known = set(re.findall(r'"(tsg_\w+)"', SOURCE))
    assert wanted <= known, wanted - known
    labels = set(re.findall(r'(\w+)="', " ".join(expressions))) - {"job"}
    assert labels <= set(re.findall(r'\("(\w+)",', SOURCE)), labels


def test_every_alert_says_what_to_do():
    for alert in RULES.split("- alert: ")[1:]:
        name = alert.split()[0]
        assert all(f"{field}:" in alert for field in ("severity", "summary", "description")), name
