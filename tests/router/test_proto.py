"""What /lib/netifd/proto/tsg.sh tells netifd."""

import pytest

from router import Router

VPN = "vpn0"
PEER = "192.0.2.2"
KEY = f"/etc/tsg/tunnel-{VPN}.key"
COMMAND = f"run_command {VPN} /usr/libexec/tsg/tunnel --log syslog tunnel eth1 --dst {{}} --tun {VPN} --key-file {{}}"

WRONG = [
    ({"peer": ""}, "MISSING_PEER_ADDRESS", "option peer is missing"),
    ({"key_file": "tsg/key"}, "TSG_KEY_FILE", 'option key_file is "tsg/key"'),
    *(({"mtu": mtu}, "TSG_MTU", f'option mtu is "{mtu}"') for mtu in ("575", "65536", "many", "100000000000000000000")),
    *(({"addresses": f"10.9.0.1/24 {address}"}, "INVALID_ADDRESS", f'option addresses has "{address}"') for address in (
        "10.9.0.1/33", "10.9.0/24", "10.9.0.256", "10.9.0.1.2", "10.9.0.1/", "/24", "10.9.0.1/255.255.255.0", "fd09::1/129",
        "fd09::1/64/64", "fd09::x/64", "vpn", "10.9.0.1-9")),
    *(({"peer": peer}, "TSG_TUNLINK", "option tunlink is missing") for peer in ("0.0.0.0", "::")),
    ({"transport": "1"}, "TSG_TUNLINK", "option tunlink is missing"),
    *(({"transport": "1", "tunlink": "wan2", name: "10.9.0.1/24"}, "TSG_TRANSPORT", "option transport is for the two hosts alone")
      for name in ("addresses", "routes")),
    ({"routes": "0.0.0.0/0 everything"}, "INVALID_ADDRESS", 'option routes has "everything"'),
]


class Netifd:
    """The script as netifd calls it, and what it said."""

    def __init__(self, router):
        self.router = router

    def __call__(self, action, config=VPN, check=True, route=f"{PEER} dev eth1  src 192.0.2.1", options=(), **env):
        self.router.path("/router/calls").write_text("")
        given = {f"OPTION_{name}": value for name, value in dict(options).items()}
        done = self.router.run("sh", "-c", "cd /lib/netifd/proto && exec ./tsg.sh \"$@\"", "sh", "tsg", action, config,
                               check=check, ROUTE=route, **env, **given)
        self.said = done.stdout + done.stderr
        return self.router.calls()


@pytest.fixture
def netifd(tools):
    """With interfaces of its own."""
    router = Router(tools, enter=("unshare", "--net"))
    yield Netifd(router)
    router.close()


def test_what_may_be_set(netifd):
    calls = netifd("dump", config="")
    assert calls.pop() == "available=1 no_device=1"
    assert sorted(calls) == sorted(f"config_add_{kind} {name}" for kind, name in (
        ("string", "peer"), ("string", "tunlink"), ("string", "key_file"), ("boolean", "group"), ("boolean", "udp"),
        ("boolean", "transport"), ("int", "mtu"),
        ("array", "addresses"), ("array", "routes"), ("boolean", "defaultroute")))


def test_the_least(netifd):
    assert netifd("setup", options={"peer": PEER}) == [
        f"add_host_dependency {VPN} {PEER} ", COMMAND.format(PEER, KEY), f"init_update {VPN} 1", f"send_update {VPN}"]


def test_everything(netifd):
    options = {"peer": PEER, "tunlink": "wan2", "key_file": "/etc/tsg/own.key", "udp": "1", "mtu": "1300",
               "addresses": "10.9.0.1/24 10.9.1.1 fd09::1/64 fd09::9",
               "routes": "198.51.100.0/24 203.0.113.9 fd51::/64 fd51::9"}
    assert netifd("setup", options=options) == [
        f"add_host_dependency {VPN} {PEER} wan2", COMMAND.format(PEER, "/etc/tsg/own.key") + " --udp --mtu 1300",
        f"init_update {VPN} 1", "add_ipv4_address 10.9.0.1 24", "add_ipv4_address 10.9.1.1 32",
        "add_ipv6_address fd09::1 64", "add_ipv6_address fd09::9 128",
        "add_ipv4_route 198.51.100.0 24", "add_ipv4_route 203.0.113.9 32", "add_ipv6_route fd51:: 64",
        "add_ipv6_route fd51::9 128",
        f"send_update {VPN}"]


def test_keys_of_the_group(netifd):
    calls = netifd("setup", options={"peer": PEER, "group": "1"})
    assert COMMAND.partition(" --key-file")[0].format(PEER) + " --group" in calls


@pytest.mark.parametrize("options", ({"peer": "0.0.0.0"}, {"peer": "::"}, {"peer": PEER, "transport": "1"}))
def test_an_other_end_that_no_route_leads_past_the_tunnel_to(netifd, options):
    """One that calls from anywhere, and the one that is reached through the tunnel alone."""
    calls = netifd("setup", options={"tunlink": "wan2", **options}, route="nowhere")
    assert calls == [
        f"add_host_dependency {VPN}  wan2", "ubus call network.interface.wan2 status",
        COMMAND.format(options["peer"], KEY) + (" --transport" if "transport" in options else ""),
        f"init_update {VPN} 1", f"send_update {VPN}"]


@pytest.mark.parametrize("network, halves", [
    ("0.0.0.0/0", ["add_ipv4_route 0.0.0.0 1", "add_ipv4_route 128.0.0.0 1"]),
    ("::/0", ["add_ipv6_route :: 1", "add_ipv6_route 8000:: 1"])])
@pytest.mark.parametrize("wanted", ("", "0", "1"))
def test_a_default_route_goes_in_as_halves(netifd, network, halves, wanted):
    calls = netifd("setup", options={"peer": PEER, "routes": network, "defaultroute": wanted})
    assert [call for call in calls if "_route" in call] == ([] if wanted == "0" else halves)


@pytest.mark.parametrize("route", [
    f"{PEER} via 198.51.100.1 dev eth1  src 198.51.100.2", f"{PEER} dev eth1 src 192.0.2.1 uid 0 \n    cache"])
def test_the_device_is_that_of_the_route(netifd, route):
    assert COMMAND.format(PEER, KEY) in netifd("setup", options={"peer": PEER}, route=route)


def test_an_other_end_with_an_ipv6_address(netifd):
    calls = netifd("setup", options={"peer": "fd00::2"}, route="fd00::2 from :: via fe80::1 dev eth1  src fd00::1")
    assert COMMAND.format("fd00::2", KEY) in calls


@pytest.mark.parametrize("options, code, said", WRONG, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_named_and_stays_down(netifd, options, code, said):
    calls = netifd("setup", check=False, options={"peer": PEER, **options})
    assert calls[-2].startswith(f"notify_error {VPN} {code} {said}")
    assert calls[-1] == "await_other_options"
    assert said in netifd.said and len(calls) == 2


@pytest.mark.parametrize("name, said", [
    ("a-name-of-16-let", "15 characters at most"), ("lo", "there is a device lo already")])
def test_a_name_that_is_no_device_s(netifd, name, said):
    calls = netifd("setup", config=name, check=False, options={"peer": PEER})
    assert calls[0].startswith(f"notify_error {name} TSG_NAME") and said in calls[0]
    assert calls[1:] == ["await_other_options"]


def test_the_device_of_a_program_that_was_killed_is_taken_over(netifd):
    netifd.router.run("ip", "tuntap", "add", "dev", VPN, "mode", "tun")
    assert COMMAND.format(PEER, KEY) in netifd("setup", options={"peer": PEER})


def test_what_is_no_address_says_netifd(netifd):
    calls = netifd("setup", check=False, options={"peer": "1.2.3.400"}, DEPENDENCY="2")
    assert calls[1].startswith(f'notify_error {VPN} TSG_PEER option peer is "1.2.3.400"')
    assert calls[2:] == ["await_other_options"]


def test_a_way_that_is_not_there_yet_is_waited_for(netifd):
    """By netifd: it calls again."""
    calls = netifd("setup", check=False, options={"peer": PEER, "tunlink": "wan"}, DEPENDENCY="4")
    assert calls == [f"add_host_dependency {VPN} {PEER} wan"]
    assert netifd.said == f"no way to {PEER} by interface wan yet\n"


def test_no_route_is_not_tried_without_a_pause(netifd):
    calls = netifd("setup", check=False, options={"peer": PEER}, route="unreachable")
    assert calls[1].startswith(f"notify_error {VPN} TSG_NO_ROUTE") and calls[2:] == ["sleep 4"]


def test_a_name_is_looked_up(netifd):
    name = {"peer": "vpn.example.org"}
    calls = netifd("setup", check=False, options=name, NAME="another.example.org 192.0.2.3")
    assert calls[0].startswith(f'notify_error {VPN} PEER_RESOLVE_FAIL option peer is "vpn.example.org"')
    assert calls[1:] == ["sleep 4", f"setup_failed {VPN}"], "it is looked up again, with a pause"
    calls = netifd("setup", options=name, NAME=f"vpn.example.org {PEER} 192.0.2.3")
    assert calls[:2] == [f"add_host_dependency {VPN} {PEER} ", COMMAND.format(PEER, KEY)]


@pytest.mark.parametrize("error, told", [
    ({}, []), ({"ERROR": "0"}, []), ({"ERROR": "1"}, ["notify_error", "sleep"]), ({"ERROR": "127"}, ["notify_error", "sleep"]),
    ({"ERROR": "2"}, ["notify_error", "sleep"])])
def test_the_end(netifd, error, told):
    calls = netifd("teardown", **error)
    assert [call.split()[0] for call in calls] == [*told, "kill_command"]
