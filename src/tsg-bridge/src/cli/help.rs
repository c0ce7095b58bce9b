//! Help in plain words.

use std::io::Write;

use anyhow::Result;

/// Command, one line for the overview, and the rest.
type Topic = (&'static str, &'static str, &'static str);

const TOPICS: [Topic; 16] = [
    (
        "run",
        "be the gateway, in the foreground",
        "Usage: tsg run [--log auto|stderr|syslog] [--ubus SOCKET|none]\n\n\
         Reads /etc/config/tsg, connects to the key server and seals and opens what crosses the bridge.\n\
         procd starts it; by hand, stop the service first (/etc/init.d/tsg stop). Without a server in the\n\
         configuration it waits and puts up no rules. SIGHUP makes it read the configuration again.\n\n\
         Where ubus runs, it is there as object `tsg` (docs/ubus.md): `ubus call tsg status`. --ubus names another\n\
         socket of ubusd than OpenWrt's.\n",
    ),
    (
        "status",
        "ask the gateway and the tunnels that run how they are",
        "Usage: tsg status [--json]\n\n\
         Exit code 1 if none runs. --json prints the answer as it came, on one line, for scripts.\n",
    ),
    (
        "reconnect",
        "connect to the key server anew",
        "Usage: tsg reconnect\n\n\
         Has the running gateway make its connection to the key server anew and ask at once, instead of when it would\n\
         by itself. Keys and traffic stay as they are.\n",
    ),
    (
        "keygen",
        "make this gateway's identity",
        "Usage: tsg keygen [--force]\n\n\
         Makes the key pair in /etc/tsg/key if there is none, and prints the public key and its\n\
         fingerprint. `tsg run` does the same at its first start. --force replaces an identity: the key\n\
         server then sees a new gateway, which has to be approved again.\n",
    ),
    (
        "fingerprint",
        "show the public key and its fingerprint",
        "Usage: tsg fingerprint\n\n\
         The operator of the key server compares the fingerprint before approving this gateway.\n",
    ),
    (
        "enrol",
        "join with a one-time token of the key server",
        "Usage: tsg enrol [--file FILE]\n\n\
         Reads the token from stdin or from a file, never from the arguments, where others could see it:\n\
         \x20   ssh KEY-SERVER tsg-server token create --group GROUP --server tcp://KEY-SERVER:5555 | tsg enrol\n\
         Writes the server's address and key to /etc/config/tsg and keeps the secret for the gateway's\n\
         next hello. A gateway that runs takes it over at once.\n",
    ),
    (
        "check",
        "look at the configuration and at what the machine can do",
        "Usage: tsg check [--json]\n\n\
         One line for each thing looked at, with what to do where something is wrong. As root it also tries\n\
         the kernel's attaches, and takes away what that needed; not beside a gateway that runs, which says itself\n\
         how it does. --json is for programs: one object on one line.\n\
         Exit code 0 if there are no problems, 1 if there are.\n",
    ),
    (
        "setup",
        "make ports a gateway's, with a way back",
        "Usage: tsg setup --lan PORT [--lan PORT]... --wan PORT [--address keep|dhcp|none|ADDRESS/PREFIX]\n\
         \x20                [--vlan N] [--standalone] [--json | --apply [--rollback SECONDS]]\n\
         \x20      tsg setup --confirm | --undo\n\n\
         Says how /etc/config/network and /etc/config/tsg have to be for these ports, as commands of uci. Ports of one\n\
         switch chip stay out of every bridge, others share one; what else is set up stays as it is.\n\n\
         --lan         a port to the protected machines\n\
         --wan         the port to the plant network\n\
         --address     the box's own: keep what it has there (the default), dhcp, none, or one like 192.0.2.5/24\n\
         --vlan        the VLAN that this address is in\n\
         --standalone  no bridge, whatever the ports are\n\
         --json        says it for programs, as ubus does\n\
         --apply       does it, and restarts network and gateway\n\
         --rollback    undoes it after so many seconds (30 to 3600), or with the next start of the box, unless\n\
         \x20             `tsg setup --confirm` says that it works\n\
         --undo        takes the last set-up back\n",
    ),
    (
        "offloads",
        "bring the ports' offloads to what is wanted, or back",
        "Usage: tsg offloads [restore]\n\n\
         Sets GRO, LRO, TSO, GSO and fraglist GRO of the ports as `config port` in /etc/config/tsg says, and LRO off\n\
         where the gateway works. The daemon does that by itself, also on a port that comes back; this is for scripts.\n\
         With `restore` the ports get back what they had; stop the daemon first. Exit code 1 if something stays as it was.\n",
    ),
    (
        "bypass",
        "let pass in clear for a while what is to be sealed",
        "Usage: tsg bypass 15m | off\n        tsg bypass\n\n\
         For a machine that must talk now, whatever is wrong: what the rules of the key server seal goes in\n\
         clear, what comes in clear is let in, and what comes sealed is opened as ever. What a rule drops stays\n\
         dropped. The gateway in front of the other machine may still refuse what is in clear: bypass that one, too.\n\
         It is an alarm here and on the key server while it lasts, and ends by itself, with `tsg bypass off`, and when\n\
         the gateway stops. 24h at the most. The group can forbid it. Without an argument: is it on?\n",
    ),
    (
        "flows",
        "who talks in clear although a rule wants it sealed",
        "Usage: tsg flows [--json]\n\n\
         What `enforce` would stop, or stops, for each pair of machines and service, the most first; of the last\n\
         day, since the last change of the policy. Look at it before a group leaves `migrate`:\n\n\
         dropped    came from the plant network in clear: there is no gateway in front of its sender, or\n\
         \x20          it does not seal\n\
         unreached  would be sealed, and no gateway is known in front of the machine it is for\n",
    ),
    (
        "bundle",
        "collect diagnostics for support in one file",
        "Usage: tsg bundle [FILE]\n\n\
         Writes one .tar.gz with status, checks, configuration, policy, rules, ports, counters and logs, without\n\
         keys, tokens and passwords: those are replaced. Works when the gateway hangs or does not run. What cannot be\n\
         collected is named in README.txt in it. Run it as root; it takes a few seconds, a minute and a half at most.\n\n\
         Without FILE it is made in /tmp. With - it goes to standard output, for a box whose disk is full:\n\
         \x20   ssh root@BOX tsg bundle - > bundle.tar.gz\n",
    ),
    (
        "gate",
        "hold `closed` before the daemon runs",
        "Usage: tsg gate [--isolate | --clear [PORT...]]\n\n\
         For scripts that run at boot. Puts a filter on every port of /etc/config/tsg that is there, made from\n\
         the last policy of the key server (/etc/tsg/policy.json); without one and with `fail closed` nothing\n\
         crosses but ARP, DHCP and the like. Call it before the ports join the bridge, and again when a port has come;\n\
         `tsg run` takes over from it. With `fail open` it puts up nothing. Switched off or without a server it takes\n\
         away what an earlier run has left, and the ports are a bridge.\n\n\
         --isolate  when the policy cannot be read yet: the ports that are in a bridge stop to talk to each other,\n\
         \x20          LAN ports too, until `tsg gate` or `tsg run` has put up the filter\n\
         --clear    takes away rules and filter, whatever the configuration says: before the package goes, or from PORTs that\n\
         \x20          are the gateway's no more. Standalone ports are then not connected. Stop the service first\n\n\
         Exit code 1 if a port is not held, or the configuration has errors; what of it is right is used.\n",
    ),
    (
        "tunnel",
        "carry whole packets to another host, sealed",
        "Usage: tsg tunnel INTERFACE --dst ADDRESS --tun NAME [--key-file FILE | --group] [--udp] [--mtu BYTES]\n\
         \x20                 [--transport] [--static [--cipher CIPHER] [--xfrm]]\n\n\
         Makes a TUN device, and carries what is routed into it to the host at ADDRESS, in ESP (RFC 4303, tunnel mode) out of\n\
         INTERFACE. The same command runs on the other host, with this one's address. Both have one key in common:\n\
         where FILE is not there yet it is made, and is to be copied to the other host by a way that nobody reads.\n\
         Give the device an address and routes as any other: `ip address add 10.9.0.1/24 dev NAME`.\n\n\
         --dst       where the other end is; 0.0.0.0 or ::, if that one calls from an address that nobody knows, or from behind NAT\n\
         --key-file  the file of the key (/etc/tsg/tunnel-NAME.key), mode 0600\n\
         --udp       in UDP on port 4500 (RFC 3948): faster, and for NAT and paths that take no IP protocol 50\n\
         --transport transport mode: what this host and ADDRESS have for each other, under their own addresses. The device then\n\
         \x20           needs neither addresses nor routes. What is in clear is dropped, also once it has ended: docs/routed.md\n\
         --mtu       the most that the device takes, where the path swallows longer ones and does not say so\n\
         --group     with the keys of the group that this host's gateway is a member of, instead of those of a file\n\
         --static    keys out of the file and the addresses alone, for an end that does not agree on any: the kernel's XFRM.\n\
         \x20           It protects less (docs/security.md)\n\
         --cipher    of static keys: chacha20-poly1305, or aes-256-gcm where this host has AES in hardware\n\
         --xfrm      prints the other end as a script for a host without tsg, and ends. KEYS ARE IN IT, so mind where it goes:\n\
         \x20           `(umask 77; tsg tunnel ... --static --xfrm >FILE)`\n\n\
         Runs until SIGTERM or SIGINT; `tsg status` tells of it. The ends agree on fresh keys when one of them starts and every\n\
         hour (docs/routed.md).\n\
         The predecessor's words are understood, too: `tsg tunnel eth0 -dst 192.0.2.9 -key 256 -tun asa0`.\n\n\
         On OpenWrt it is a program of its own, /usr/libexec/tsg/tunnel, of the package tsg-proto. That one has\n\
         `tunnel` and `status` without a gateway; `tsg tunnel` calls it.\n",
    ),
    (
        "import",
        "take over the predecessor's cb.conf",
        "Usage: tsg import [--force] FILE\n\n\
         Takes the server, its key, the name and the key pair. Refuses to replace an identity that is\n\
         there, unless --force is given.\n",
    ),
    ("help", "explain a command", "Usage: tsg help [COMMAND]\n"),
];

/// What the program has that has tunnels alone.
const TUNNELS: [&str; 3] = ["status", "tunnel", "help"];

const FOLDERS: &str = "\
For every command:
  -c, --config DIR   UCI files            (/etc/config)
      --state DIR    identity and policy  (/etc/tsg)
      --run DIR      socket and RAM state (/var/run/tsg)
  -h, --help         this text
  -V, --version      the version

Exit codes: 0 done, 1 it did not work, 2 the arguments are wrong.
";

pub(super) fn is_topic(word: &str) -> bool {
    TOPICS.iter().any(|(command, _, _)| *command == word)
}

pub(super) fn show(topic: Option<&str>, out: &mut dyn Write) -> Result<()> {
    const TITLE: &str = "\
tsg: encrypts what crosses a bridge, for machines that cannot do it themselves.

Usage: tsg [FOLDERS] COMMAND
";
    show_some(&TOPICS, TITLE, topic, out)
}

/// The same of the program that has tunnels alone.
pub(super) fn show_tunnels(topic: Option<&str>, out: &mut dyn Write) -> Result<()> {
    const TITLE: &str = "\
tsg-tunnel: carries whole packets to another host, sealed.

Usage: /usr/libexec/tsg/tunnel [FOLDERS] COMMAND
";
    let topics = TOPICS.into_iter().filter(|(command, ..)| TUNNELS.contains(command));
    show_some(&topics.collect::<Vec<_>>(), TITLE, topic, out)
}

fn show_some(
    topics: &[Topic],
    title: &str,
    topic: Option<&str>,
    out: &mut dyn Write,
) -> Result<()> {
    if let Some((_, _, text)) = topics.iter().find(|(command, _, _)| topic == Some(*command)) {
        out.write_all(text.as_bytes())?;
        return Ok(());
    }
    writeln!(out, "{title}")?;
    for (command, line, _) in topics {
        writeln!(out, "  {command:<12} {line}")?;
    }
    write!(out, "\n{FOLDERS}")?;
    Ok(())
}
