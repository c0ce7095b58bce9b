//! Network interfaces by ioctl: is one there, is it up, to set it so, and to make TUN and TAP devices.
//!
//! Not here: offloads ([`crate::offloads`]), bridges and their ports ([`crate::netlink`]).
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

/// A TUN or TAP device of that kind, which lasts as long as someone holds it. It is read without waiting.
pub(crate) fn tun(name: &str, kind: libc::c_int) -> io::Result<File> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = kind as libc::c_short;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: the kernel reads and writes one ifreq, which lives during the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// Asks a TUN or TAP device for packets that are not cut yet and have no checksum, as far as this kernel can. Says whether it cuts
/// datagrams, too, as it does since Linux 6.2.
pub(crate) fn take_uncut(device: &File) -> io::Result<bool> {
    const TCP: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    const UDP: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    let ask = |features: u32| {
        let features = libc::c_ulong::from(features);
        // SAFETY: the argument is a number.
        let done = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETOFFLOAD as _, features) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    match ask(TCP | UDP) {
        Ok(()) => Ok(true),
        Err(_) => ask(TCP).map(|()| false),
    }
}

/// A question about the interface of that name.
fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// Is there such an interface?
pub(crate) fn exists(name: &str) -> bool {
    flags(name).is_ok()
}

/// Its number: another one each time that an interface of that name is made. `None` if there is none.
pub(crate) fn index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// Is it set up?
pub(crate) fn is_up(name: &str) -> io::Result<bool> {
    Ok(flags(name)? & libc::IFF_UP != 0)
}

/// Sets it up.
pub(crate) fn bring_up(name: &str) -> io::Result<()> {
    add_flags(name, libc::IFF_UP)
}

/// Sets it up, and lets it take frames for others, as a bridge does with its ports.
pub(crate) fn bring_up_for_all(name: &str) -> io::Result<()> {
    add_flags(name, libc::IFF_UP | libc::IFF_PROMISC)
}

/// Lets it take frames for others, up or down.
pub(crate) fn hear_all(name: &str) -> io::Result<()> {
    add_flags(name, libc::IFF_PROMISC)
}

/// The longest packet that it takes.
pub(crate) fn set_mtu(name: &str, mtu: u16) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_mtu = libc::c_int::from(mtu);
    ask(libc::SIOCSIFMTU as _, &mut request)
}

/// Sets how many packets may wait in each queue of a TUN or TAP device. Each may have 64 KiB; `queues` together take
/// at most an eighth of the machine's memory, unless that is too little for any.
pub(crate) fn set_waiting(name: &str, queues: usize) -> io::Result<()> {
    let memory = nix::sys::sysinfo::sysinfo().map_or(0, |info| info.ram_total());
    let mut request = request(name)?;
    request.ifr_ifru.ifru_metric = waiting(memory, queues);
    ask(libc::SIOCSIFTXQLEN as _, &mut request)
}

/// Below the least of them a burst of small packets that a slow processor takes in at once would be lost.
fn waiting(memory: u64, queues: usize) -> libc::c_int {
    const LONGEST: u64 = 64 << 10;
    const LEAST: u64 = 256;
    const MOST: u64 = 1_024;
    let all = memory / 8 / LONGEST;
    (all / queues.max(1) as u64).clamp(LEAST, MOST) as libc::c_int
}

fn add_flags(name: &str, wanted: libc::c_int) -> io::Result<()> {
    let now = flags(name)?;
    if now & wanted == wanted {
        return Ok(());
    }
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = (now | wanted) as libc::c_short;
    ask(libc::SIOCSIFFLAGS as _, &mut request)
}

fn flags(name: &str) -> io::Result<libc::c_int> {
    let mut request = request(name)?;
    ask(libc::SIOCGIFFLAGS as _, &mut request)?;
    // SAFETY: the kernel has filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(libc::c_int::from(flags))
}

fn ask(what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the kernel reads and writes one ifreq, which lives during the call.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), what, std::ptr::from_mut(request)) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_takes_an_eighth_of_the_memory() {
        let cases =
            [(64, 2, 256), (512, 2, 512), (512, 4, 256), (4_096, 8, 1_024), (4_096, 64, 256)];
        for (mib, queues, packets) in cases {
            assert_eq!(waiting(mib << 20, queues), packets, "{mib} MiB, {queues} queues");
        }
        assert_eq!(waiting(0, 0), 256);
    }
}
