//! The system calls: features of a network device by `SIOCETHTOOL`, as `ethtool -k` and `-K` have them.
#![allow(unsafe_code)]

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

const SIOCETHTOOL: u32 = 0x8946;
const GET_STRINGS: u32 = 0x1b;
const GET_SET_INFO: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const SET_FEATURES: u32 = 0x3b;

/// `ETH_SS_FEATURES`: the names of the features, in the order of their bits.
const FEATURE_NAMES: u32 = 4;
/// `ETH_GSTRING_LEN`.
const NAME_LEN: usize = 32;

/// The kernel knows some sixty; more than this is nonsense.
const MOST_FEATURES: u32 = 1_024;

/// One feature as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bit {
    /// The kernel's name, such as `rx-gro`.
    pub(super) name: String,
    /// Somebody may change it.
    pub(super) changeable: bool,
    /// What was asked for.
    pub(super) requested: bool,
    /// What is so.
    pub(super) active: bool,
}

/// A device of this network namespace.
pub(super) struct Device {
    socket: OwnedFd,
    name: [u8; libc::IFNAMSIZ],
}

impl Device {
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let mut bytes = [0; libc::IFNAMSIZ];
        if name.len() >= bytes.len() || name.contains('\0') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, name: bytes })
    }

    /// All features, in the kernel's order.
    pub(super) fn features(&self) -> io::Result<Vec<Bit>> {
        let count = self.count()?;
        let names = self.names(count)?;
        let blocks = count.div_ceil(32);
        // `struct ethtool_gfeatures`, and per block: available, requested, active, never changed.
        let mut words = vec![0; 2 + 4 * blocks as usize];
        (words[0], words[1]) = (GET_FEATURES, blocks);
        self.ask(&mut words)?;
        let bit = |(at, name): (usize, String)| {
            let block = &words[2 + at / 32 * 4..][..4];
            let has = |word: u32| word >> (at % 32) & 1 == 1;
            Bit {
                name,
                changeable: has(block[0]) && !has(block[3]),
                requested: has(block[1]),
                active: has(block[2]),
            }
        };
        Ok(names.into_iter().enumerate().map(bit).collect())
    }

    /// Asks for some features, by name; those that are not named stay as they are.
    pub(super) fn request(&self, wanted: &[(String, bool)]) -> io::Result<()> {
        let count = self.count()?;
        let names = self.names(count)?;
        let blocks = count.div_ceil(32);
        // `struct ethtool_sfeatures`, and per block: which are meant, and what they should be.
        let mut words = vec![0; 2 + 2 * blocks as usize];
        (words[0], words[1]) = (SET_FEATURES, blocks);
        for (name, on) in wanted {
            let Some(at) = names.iter().position(|known| known == name) else { continue };
            let bit = 1 << (at % 32);
            words[2 + at / 32 * 2] |= bit;
            words[3 + at / 32 * 2] |= if *on { bit } else { 0 };
        }
        self.ask(&mut words)
    }

    fn count(&self) -> io::Result<u32> {
        // `struct ethtool_sset_info` with room for one number; the mask is a u64, of which the low half comes first
        // or last as the machine has it.
        let mask = (1u64 << FEATURE_NAMES).to_ne_bytes();
        let half =
            |at: usize| u32::from_ne_bytes([mask[at], mask[at + 1], mask[at + 2], mask[at + 3]]);
        let mut words = [GET_SET_INFO, 0, half(0), half(4), 0];
        self.ask(&mut words)?;
        match words[4] {
            count @ 1..=MOST_FEATURES => Ok(count),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn names(&self, count: u32) -> io::Result<Vec<String>> {
        let room = count as usize * NAME_LEN;
        // `struct ethtool_gstrings`.
        let mut words = vec![0; 3 + room / 4];
        (words[0], words[1], words[2]) = (GET_STRINGS, FEATURE_NAMES, count);
        self.ask(&mut words)?;
        let bytes: Vec<u8> = words[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let text = |name: &[u8]| {
            let name = CStr::from_bytes_until_nul(name).unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        Ok(bytes.chunks_exact(NAME_LEN).map(text).collect())
    }

    /// `words` is one of ethtool's structures, with all the room that its own numbers promise to the kernel.
    fn ask(&self, words: &mut [u32]) -> io::Result<()> {
        // SAFETY: an all-zero ifreq is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(self.name) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the kernel reads the ifreq, and reads and writes `words` as far as the numbers in them say, which
        // the callers have made to fit; both live during the call.
        let done =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
