//! The other end of a tunnel with static keys, as a shell script for a host that has the kernel's XFRM and no `tsg`.

use super::run::Tunnel;
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
pub fn print(tunnel: &Tunnel, suite: Suite, out: &mut dyn io::Write) -> Result<()> {
    let Tunnel { interface, peer, device, key_file, udp, .. } = tunnel;
    ensure!(
        key_file.exists(),
        "there is no {}: start this end first, without --xfrm, which makes it",
        key_file.display()
    );
    tsg_sodium::init()?;
    let key = Key::load(key_file)?;
    let (own, mtu) = path::look(interface, *peer)
        .with_context(|| format!("cannot reach {peer} by {interface}"))?;
    let mtu = tunnel
        .carrier()
        .longest_inside(mtu)
        .with_context(|| format!("a path of {mtu} bytes takes no packet"))?;
    let ends = Ends { key: &key, suite, here: own, there: *peer };
    out.write_all(script(device, &ends, mtu, *udp).as_bytes())?;
    Ok(())
}

/// What the keys come from. `there` is where the script runs.
struct Ends<'a> {
    key: &'a Key,
    suite: Suite,
    here: IpAddr,
    there: IpAddr,
}

fn script(device: &str, ends: &Ends<'_>, mtu: u16, udp: bool) -> Zeroizing<String> {
    let Ends { key, suite, here, there } = *ends;
    let session = standing::session(key, suite, here, there);
    // The kernel wants a number for the device; an SPI is one that nobody else has.
    let id = hex(session.out.0);
    let [to, from] = [&session.out, &session.inward].map(|(spi, _)| hex(*spi));
    let encap = match (udp, there) {
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
            "xfrm state add src {from} dst {to} proto esp spi {} mode tunnel flag af-unspec if_id {id} \
             replay-window 1024 aead '{aead}' {} 128{encap}\n",
            hex(association.0),
            *key
        ))
    };
    let (options, cipher) = (if udp { " --udp" } else { "" }, suite.as_str());
    // Room for all of it, as what grows leaves copies of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(8_192));
    // A string takes whatever is written to it.
    let _ = write!(
        text,
        "\
#!/bin/sh
# One end of a tunnel, at {there}, by the kernel's XFRM: Linux 5.8 or later, ip of iproute2. The other end is
#     tsg tunnel INTERFACE --dst {there} --tun {device} --static --cipher {cipher}{options}
# on {here}.
#
# THE KEYS ARE IN HERE. Whoever reads it can be either end: mode 0600, and away with every copy.
#
# To be run as root after each boot; run again, it begins anew; with `down` it takes all away. The device is one like any other:
#     ip address add 10.9.0.2/24 dev {device}
set -eu

forget() {{
    ip link delete {device} || :
    ip xfrm state delete src {here} dst {there} proto esp spi {to} || :
    ip xfrm state delete src {there} dst {here} proto esp spi {from} || :
    for all in 0.0.0.0/0 ::/0; do
        for direction in in fwd out; do
            ip xfrm policy delete src \"$all\" dst \"$all\" dir \"$direction\" if_id {id} || :
        done
    done
}}
forget 2>/dev/null
[ \"${{1:-}}\" != down ] || exit 0

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

# From standard input, as everybody sees the arguments of a process.
ip -batch - <<'KEYS'
"
    );
    text.push_str(&state(here, there, &session.out));
    text.push_str(&state(there, here, &session.inward));
    text.push_str("KEYS\n");
    if udp {
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
    let _ = write!(text, "\nip link set {device} up\n");
    text
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
mod tests {
    use super::*;

    #[test]
    fn the_script_is_for_the_other_host() {
        tsg_sodium::init().unwrap();
        let key = Key::generate();
        let (here, there) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let ends = Ends { key: &key, suite: Suite::Aes256Gcm, here, there };
        let text = script("tsg0", &ends, 1_438, false);
        assert!(text.starts_with("#!/bin/sh\n") && text.len() < 8_192 - 2_048);
        // What it says about itself: there, this end's is the other's.
        let session = standing::session(&key, Suite::Aes256Gcm, there, here);
        for (from, to, association) in [(there, here, &session.out), (here, there, &session.inward)]
        {
            let line =
                format!("xfrm state add src {from} dst {to} proto esp spi {}", hex(association.0));
            let line = text.lines().find(|found| found.starts_with(&line)).unwrap();
            let aead = format!("aead 'rfc4106(gcm(aes))' {} 128", *key_of(association));
            assert!(line.ends_with(&aead), "{line}");
        }
        assert!(text.contains("ip link add tsg0 mtu 1438 type xfrm if_id 0x"));
        assert!(!text.contains("python3"));
        let udp = script("tsg0", &ends, 1_430, true);
        assert_eq!(udp.matches("128 encap espinudp 4500 4500 0.0.0.0\n").count(), 2);
        assert!(udp.contains("python3"));
    }
}
