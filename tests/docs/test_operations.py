"""docs/operations.md against the code: every alarm, counter and reason has a row, no row is of something that is gone, and
its numbers are the code's."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/operations.md").read_text()
RUN = "src/tsg-bridge/src/run"
SERVER = "src/tsg-control/src/server"
# What is raised there is said in other places.
ELSEWHERE = {"not_understood": "src/tsg-control/src/message/later.rs"}


def section(title):
    """The text below a heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, f"no section {title!r}"
    return found[1]


def rows(text, column=0):
    """The first cells of all tables in a text; headings too."""
    cells = [line.strip().strip("|").split(" | ")[column].strip()
             for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    assert cells
    return cells


def terms(text):
    """What stands between backticks in the first cells. One within another stays."""
    return [term.strip("`") for cell in rows(text) for term in re.split(r"(?<=`), (?=`)", cell)
            if cell.startswith("`")]


def source(path):
    """A file without its tests and comments."""
    text = (REPOSITORY / path).read_text()
    text = re.split(r"^#\[cfg\(test\)\]\nmod tests \{", text, maxsplit=1, flags=re.M)[0]
    return re.sub(r"^\s*//.*$", "", text, flags=re.M)


def sources(folder):
    return {str(path.relative_to(REPOSITORY)): source(path.relative_to(REPOSITORY))
            for path in sorted((REPOSITORY / folder).rglob("*.rs")) if path.name != "tests.rs"}


def function(name, folder):
    """The body of the only function of that name in a folder."""
    bodies = [body for text in sources(folder).values()
              for body in re.findall(rf"^( *)(?:pub(?:\([\w: ]+\))? )?(?:const )?fn {name}\b(.*?)^\1\}}", text, re.M | re.S)]
    assert len(bodies) == 1, f"{len(bodies)} functions {name} in {folder}"
    return bodies[0][1]


def literals(text):
    """The string literals, as they are once written."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"', text, re.S)
    return [re.sub(r"\\\n\s*", "", one).replace('\\"', '"') for one in found]


def sentences(text):
    """Literals for people: some words."""
    words = re.compile(r"(?<![\w{:])[A-Za-z]{2,}(?![\w}])")
    return [one for one in literals(text) if " " in one and len(words.findall(re.sub(r"\{[^}]*\}", "", one))) > 2]


def sample(literal):
    """How it could look: placeholders filled in."""
    return re.sub(r"\{[^}]*\}", "7", literal).replace("`", "")


def pattern(term):
    """A row's first words: dots and words in capitals stand for anything."""
    anything = re.compile(r"…|\b[A-Z]+\b(?:, [A-Z]+\b)*(?: …)?")
    parts = anything.split(term.replace("`", "").replace("IN CLEAR", "in clear"))
    return re.compile(".*".join(re.escape(part) for part in parts))


def check(rows_, said, besides=(), fronts=("",)):
    """What is said has its row, and each row is of something that is said."""
    def matches(row, literal):
        text = sample(literal).replace("IN CLEAR", "in clear")
        return any(pattern(row).match(front + text) for front in fronts)

    assert said
    rows_ = [row for row in rows_ if row not in besides]
    missing = [one for one in said if not any(matches(row, one) for row in rows_)]
    assert not missing, f"without a row in docs/operations.md: {missing}"
    stale = [row for row in rows_ if not any(matches(row, one) for one in said)]
    assert not stale, f"rows of what is not in the code: {stale}"


def raised(text, folder, own):
    """The functions from which alarms come, beside those of the file itself."""
    calls = set()
    for argument in re.findall(r"\balarms\.(?:extend|push)\((.*?)\);", text, re.S):
        argument = re.sub(r'"(?:[^"\\]|\\.)*"', "", argument, flags=re.S)
        calls |= set(re.findall(r"(?<![.\w])([a-z_]+)\(", argument))
        calls |= set(re.findall(r"\b(?:control|gateway)\.(?:[a-z_]+\.)*([a-z_]+)\(", argument))
        calls |= set(re.findall(r"\.map\(([a-z_]+)\)", argument))
    # What is asked for, and is no alarm.
    calls -= {"standing", "clock", "as_ref"} | set(ELSEWHERE)
    return [function(name, folder) for name in sorted(calls) if not re.search(rf"fn {name}\b", own)]


def gateway_alarms():
    status = source(f"{RUN}/status.rs")
    found = [one for text in (status, *raised(status, RUN, status)) for one in sentences(text)]
    later = source(ELSEWHERE["not_understood"])
    found += [one + ": this version does not know 7" for one in literals(later)
              if re.match(r"(epoch|policy) \{\w*\} ", one)]
    # The end of a sentence that begins elsewhere.
    return [one for one in found if one != "the key server"]


def test_every_alarm_of_a_gateway_has_a_row(record_property):
    alarms = gateway_alarms()
    assert len(alarms) >= 13, alarms
    check(terms(section("A gateway's alarms")), alarms, besides=["alarm", "BRIDGE: …"])
    bridge = section("A gateway's alarms")
    for one in sentences(function("status", RUN)):
        assert sample(one).split(": 7")[0] in bridge, one
    record_property("cases", len(alarms))


def test_every_counter_has_a_row(record_property):
    pairs = re.compile(r'\(\s*"([a-z_]+)",')
    counters = source("src/tsg-bridge/src/pipeline/counters.rs")
    reasons = re.findall(r'=> "([a-z_]+)"', source("src/tsg-esp/src/drop_reason.rs"))
    own = re.search(r"const OWN: .*?\];", counters, re.S)[0]
    reasons += re.findall(r'"([a-z_]+)"', own)
    plain = pairs.findall(counters.replace(own, ""))
    plain += pairs.findall(function("counters", RUN))
    plain += re.findall(r'counters\.insert\("([a-z_]+)"', source(f"{RUN}/status.rs"))
    names = {f"drop_{name}" for name in reasons} | set(plain)
    assert len(names) > 40 and "drop_gate" in names, names
    shown = {term for title in ("Dropped packets", "What else a gateway counts") for term in terms(section(title))}
    assert not names - shown, f"without a row in docs/operations.md: {sorted(names - shown)}"
    assert not shown - names, f"rows of what is not counted: {sorted(shown - names)}"
    record_property("cases", len(names))


def server_tables():
    """By the heading of their first column."""
    parts = re.split(r"\n(?=\| (?:line|alarm|in the log|reason) \|)", section("The key server's alarms"))
    tables = {re.match(r"\| ([a-z ]+) \|", part)[1]: terms(part) for part in parts[1:]}
    assert set(tables) == {"line", "alarm", "in the log", "reason"}
    return tables


def test_every_line_and_alarm_of_the_key_server_has_a_row(record_property):
    tables = server_tables()
    words = re.findall(r'"([A-Z]{3,})\b', function("wanting", "package/tsg-server/src/cli/show"))
    assert len(words) == 4 and sorted(set(words)) == sorted(tables["line"])
    view = source(f"{SERVER}/view.rs")
    alarms = [one for text in (function("alarms", SERVER), *raised(view, SERVER, view))
              for one in sentences(text)]
    check(tables["alarm"], alarms)
    record_property("cases", len(words) + len(alarms))


def test_every_warning_of_the_key_server_has_a_row(record_property):
    warnings = []
    for folder in (SERVER, "package/tsg-server/src"):
        for text in sources(folder).values():
            for call in re.finditer(r"(?:self\.warn|log::warn!|log::error!)\((.*?)\);", text, re.S):
                said = sentences(call[1])
                if not said and call[1] == "text":
                    # Made a few lines above.
                    said = sentences(text[text.rindex("let text", 0, call.start()):call.start()])
                warnings += said
    warnings += [one for one in sentences(function("redeem", SERVER)) if one.startswith("this token")]
    warnings += [one for one in sentences(function("no_room", "package/tsg-server/src/daemon"))]
    warnings += sentences(re.search(r"impl fmt::Display for DecodeError.*?\n\}", source(
        "src/tsg-control/src/message.rs"), re.S)[0])
    warnings = [one for one in warnings if not one.startswith(("a frame of", "malformed"))]
    assert len(warnings) >= 15, warnings
    # What stands in front is put there by whoever says it.
    check(server_tables()["in the log"], warnings, fronts=("", "7: ", "7 (7): "))
    record_property("cases", len(warnings))


def test_every_reason_for_which_the_key_server_drops_has_a_row(record_property):
    reasons = set()
    for text in sources("package/tsg-server/src/network").values():
        reasons |= set(re.findall(r'Err\("([a-z ]+)"\)', text))
    network = source("package/tsg-server/src/network.rs")
    reasons |= set(re.findall(r'\.drop\("([a-z ]+)"\)', network))
    reasons |= set(re.findall(r'DecodeError::\w+\(_\) => "([a-z ]+)"', network))
    shown = set(server_tables()["reason"])
    assert len(reasons) >= 12
    assert reasons == shown, f"{sorted(reasons - shown)} are missing, {sorted(shown - reasons)} are gone"
    record_property("cases", len(reasons))


def number(folder, name):
    """A constant, or a field of a default, wherever in a folder."""
    found = {one for text in sources(folder).values()
             for one in re.findall(rf"\b{name}(?:: \w+ =|:) ([\d_]+(?: [*<]+ [\d_]+)?)[;,]", text)}
    assert len(found) == 1, f"{name} in {folder}: {found}"
    return eval(found.pop().replace("_", ""))


CONTROL = "src/tsg-control/src"
NUMBERS = [
    ("lifetime of a key", "24 h", lambda: number(CONTROL, "key_lifetime") / 3600),
    ("without the key server beyond", "24 h", lambda: number(CONTROL, "island_time") / 3600),
    ("everybody seals with the new key", "15 s", lambda: number(CONTROL, "activation_delay")),
    ("from the order to revoke", "5 s", lambda: number(CONTROL, "revoke_delay")),
    ("from the order to revoke", "1 s", lambda: number(CONTROL, "CLOSING") / 1000),
    ("heartbeat", "10 s", lambda: number(CONTROL, "HEARTBEAT") / 1000),
    ("next key server", "20 s", lambda: number(RUN, "NEXT_SERVER") / 1000),
    ("counts as gone", "35 s", lambda: 3.5 * number(CONTROL, "HEARTBEAT") / 1000),
    ("how old a sealed packet", "4 s", lambda: number(CONTROL, "replay_window")),
    ("not behind its gateway", "30 min", lambda: number(RUN, "FORGET_MACHINE") / 60_000),
    ("a retiring policy", "60 s", lambda: number(CONTROL, "POLICY_LINGER") / 1000),
    ("an alarm must stand", "30 s", lambda: number("package/tsg-server/src/cli/args", "ALARM_AFTER")),
    ("keeps free on its disk", "16 MiB", lambda: number("package/tsg-server/src/daemon", "RESERVE") >> 20),
]


@pytest.mark.parametrize("what, shown, code", NUMBERS, ids=[f"{what}, {shown}" for what, shown, _ in NUMBERS])
def test_numbers_are_those_of_the_code(what, shown, code):
    assert code() == float(shown.split()[0])
    lines = [line for line in section("Numbers worth knowing").splitlines() if what in line]
    assert len(lines) == 1 and re.search(rf"(?<!\d){shown}\b", lines[0]), lines


def test_every_number_is_checked():
    shown = len(rows(section("Numbers worth knowing"))) - 1
    assert shown == len({what for what, *_ in NUMBERS})
