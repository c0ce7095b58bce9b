//! The other end of a tunnel with static keys, as a shell script for a host that has the kernel's XFRM and no `tsg`.

use super::settings::{Static, Tunnel};
use super::{Key, path, standing};
use anyhow::{Context as _, Result, ensure};
use core::fmt::Write as _;
use core::net::IpAddr;
use std::io;
use tsg_esp::crypto::{Kdf as _, Spi, Suite, Tek};
use tsg_sodium::Sodium;
use zeroize::Zeroizing;

/// Writes the script. It has the keys in it.
///
/// # Errors
/// There is no key yet, no way to the other end, or the tunnel's name is none for a shell.
pub fn print(tunnel: &Tunnel, how: &Static, out: &mut dyn io::Write) -> Result<()> {
    let (Tunnel { interface, peer, .. }, Static { file, suite, .. }) = (tunnel, how);
    ensure!(
        file.exists(),
        "there is no {}: start this end first, without --xfrm, which makes it",
        file.display()
    );
    tsg_sodium::init()?;
    let key = tunnel.key(Key::load(file)?);
    let (own, mtu) = path::look(interface, *peer)
        .with_context(|| format!("cannot reach {peer} by {interface}"))?;
    let mtu = tunnel
        .carrier()
        .longest_inside(mtu)
        .with_context(|| format!("a path of {mtu} bytes takes no packet"))?;
    let ends = Ends { key: &key, suite: *suite, here: own, there: *peer };
    out.write_all(script(tunnel, &ends, mtu).as_bytes())?;
    Ok(())
}

/// What the keys come from. `there` is where the script runs.
struct Ends<'a> {
    key: &'a Key,
    suite: Suite,
    here: IpAddr,
    there: IpAddr,
}

/// What the modes differ in.
struct Mode {
    /// What the script is, and what is to be done when it has run.
    about: [String; 2],
    /// How the kernel calls it, for a state.
    state: String,
    /// What takes it away, what makes it, and what begins it.
    forget: String,
    make: String,
    begin: String,
}

fn script(tunnel: &Tunnel, ends: &Ends<'_>, mtu: u16) -> Zeroizing<String> {
    let Ends { key, suite, here, there } = *ends;
    let session = standing::session(key, suite, here, there);
    let [to, from] = [&session.out, &session.inward].map(|(spi, _)| hex(*spi));
    let Mode { about: [about, after], state: mode, forget, make, begin } = match tunnel.transport {
        // The kernel wants a number for the device; an SPI is one that nobody else has.
        false => tunnel_mode(&tunnel.device, ends, mtu, &to),
        true => transport_mode(ends, tunnel.udp),
    };
    let encap = match (tunnel.udp, there) {
        (false, _) => "",
        (true, IpAddr::V4(_)) => " encap espinudp 4500 4500 0.0.0.0",
        (true, IpAddr::V6(_)) => " encap espinudp 4500 4500 ::",
    };
    let aead = match suite {
        Suite::ChaCha20Poly1305 => "rfc7539esp(chacha20,poly1305)",
        Suite::Aes256Gcm => "rfc4106(gcm(aes))",
    };
    let state = |from: IpAddr, to: IpAddr, association: &(Spi, Tek)| {
        let key = key_of(association);
        Zeroizing::new(format!(
            "xfrm state add src {from} dst {to} proto esp spi {} {mode} replay-window 1024 aead '{aead}' {} 128{encap}\n",
            hex(association.0),
            *key
        ))
    };
    let (cipher, device) = (suite.as_str(), &tunnel.device);
    let options = [(tunnel.transport, " --transport"), (tunnel.udp, " --udp")];
    let options: String =
        options.iter().filter(|(given, _)| *given).map(|(_, option)| *option).collect();
    // Room for all of it, as what grows leaves copies of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(8_192));
    // A string takes whatever is written to it.
    let _ = write!(
        text,
        "\
#!/bin/sh
# {about}, at {there}, by the kernel's XFRM: Linux 5.8 or later, ip of iproute2. The other end is
#     tsg tunnel INTERFACE --dst {there} --tun {device} --static --cipher {cipher}{options}
# on {here}.
#
# THE KEYS ARE IN HERE. Whoever reads it can be either end: mode 0600, and away with every copy.
#
# To be run as root after each boot; run again, it begins anew; with `down` it takes all away. {after}
set -eu

forget() {{
    ip xfrm state delete src {here} dst {there} proto esp spi {to} || :
    ip xfrm state delete src {there} dst {here} proto esp spi {from} || :
{forget}}}
forget 2>/dev/null
[ \"${{1:-}}\" != down ] || exit 0

{make}
# From standard input, as everybody sees the arguments of a process.
ip -batch - <<'KEYS'
"
    );
    text.push_str(&state(here, there, &session.out));
    text.push_str(&state(there, here, &session.inward));
    text.push_str("KEYS\n");
    if tunnel.udp {
        let family = if there.is_ipv4() { "AF_INET" } else { "AF_INET6" };
        let _ = write!(
            text,
            "
# The kernel takes ESP out of UDP while somebody has a socket open that says so, as IKE daemons do; this one stays.
python3 - <<'SOCKET' || echo \"nothing comes in but by the socket that is there\" >&2
import os, signal, socket, sys
wire = socket.socket(socket.{family}, socket.SOCK_DGRAM)
try:
    wire.bind((\"{there}\", 4500))
except OSError as error:
    sys.exit(f\"UDP port 4500: {{error.strerror}}\")
wire.setsockopt(socket.IPPROTO_UDP, 100, 2)  # UDP_ENCAP, UDP_ENCAP_ESPINUDP: linux/udp.h
if os.fork() == 0:
    os.setsid()
    os.closerange(0, 3)
    signal.pause()
SOCKET
"
        );
    }
    text.push_str(&begin);
    text
}

/// A device, into which what is to be sealed is routed.
fn tunnel_mode(device: &str, ends: &Ends<'_>, mtu: u16, id: &str) -> Mode {
    let Ends { here, there, .. } = ends;
    let about = [
        "One end of a tunnel".to_owned(),
        format!("The device is one like any other:\n#     ip address add 10.9.0.2/24 dev {device}"),
    ];
    let forget = format!(
        "\x20   ip link delete {device} || :
    for all in 0.0.0.0/0 ::/0; do
        for direction in in fwd out; do
            ip xfrm policy delete src \"$all\" dst \"$all\" dir \"$direction\" if_id {id} || :
        done
    done
"
    );
    let make = format!(
        "\
# What is routed into the device is sealed, and what comes in sealed comes out of it. The MTU is what fits the path.
ip link add {device} mtu {mtu} type xfrm if_id {id}
for all in 0.0.0.0/0 ::/0; do
    ip xfrm policy add src \"$all\" dst \"$all\" dir out if_id {id} \\
        tmpl src {there} dst {here} proto esp mode tunnel
    for direction in in fwd; do
        ip xfrm policy add src \"$all\" dst \"$all\" dir \"$direction\" if_id {id} \\
            tmpl src {here} dst {there} proto esp mode tunnel
    done
done
"
    );
    let state = format!("mode tunnel flag af-unspec if_id {id}");
    Mode { about, state, forget, make, begin: format!("\nip link set {device} up\n") }
}

/// Policies between the two addresses, which seal what goes and drop what comes in clear.
fn transport_mode(ends: &Ends<'_>, udp: bool) -> Mode {
    let Ends { here, there, .. } = ends;
    let out = format!("src {there} dst {here}");
    let back = format!("src {here} dst {there}");
    let mut policies = Vec::new();
    if there.is_ipv6() {
        // Without these nobody would find the other on the wire (RFC 4861).
        for kind in [135, 136] {
            policies
                .push((format!("{out} proto ipv6-icmp type {kind} dir out"), " priority 1".into()));
            policies
                .push((format!("{back} proto ipv6-icmp type {kind} dir in"), " priority 1".into()));
        }
    }
    if udp {
        // The kernel asks the policy before it looks into UDP.
        policies
            .push((format!("{back} proto udp sport 4500 dport 4500 dir in"), " priority 1".into()));
    }
    for (pair, direction) in [(&out, "out"), (&back, "in")] {
        let how = format!(" priority 2 tmpl {pair} proto esp mode transport");
        policies.push((format!("{pair} dir {direction}"), how));
    }
    let (mut forget, mut make) = (String::new(), String::new());
    make.push_str(
        "# What one host has for the other is sealed, and nothing else is heard from it.\n",
    );
    for (which, how) in policies {
        // A string takes whatever is written to it.
        let _ = writeln!(forget, "    ip xfrm policy delete {which} || :");
        let _ = writeln!(make, "ip xfrm policy add {which}{how}");
    }
    let about = [
        "One end of transport mode".to_owned(),
        "Then the hosts talk under their own addresses.".into(),
    ];
    Mode { about, state: "mode transport".to_owned(), forget, make, begin: String::new() }
}

fn hex(spi: Spi) -> String {
    format!("{:#010x}", spi.value())
}

/// Key and salt, as the kernel wants them: 36 bytes in hexadecimal.
fn key_of((spi, tek): &(Spi, Tek)) -> Zeroizing<String> {
    let key = Sodium::derive(tek, *spi);
    let mut text = Zeroizing::new(String::with_capacity(2 + 2 * 36));
    text.push_str("0x");
    for byte in key.key.iter().chain(&key.salt) {
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
