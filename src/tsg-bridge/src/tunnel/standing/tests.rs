//! Two ends with static keys, each with a disk of its own.

use super::*;
use crate::tunnel::key::Key;
use tempfile::TempDir;
use tsg_esp::buffer::{HEAD_ROOM, TAIL_ROOM};
use tsg_esp::ip::protocol;
use tsg_esp::seal::SEQUENCE_END;

const ADDRESSES: [[IpAddr; 2]; 2] = [
    [v4(1), v4(2)],
    [IpAddr::V6(core::net::Ipv6Addr::LOCALHOST), IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED)],
];

const fn v4(last: u8) -> IpAddr {
    IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, last))
}

/// One end: what it has on the disk.
struct Host {
    cache: TempDir,
    key: Key,
    addresses: [IpAddr; 2],
}

impl Host {
    fn two([one, other]: [IpAddr; 2]) -> [Self; 2] {
        tsg_sodium::init().unwrap();
        let text = Key::generate().text();
        [[one, other], [other, one]].map(|addresses| Self {
            cache: tempfile::tempdir().unwrap(),
            key: Key::parse(&text).unwrap(),
            addresses,
        })
    }

    fn try_start(&self, suite: Suite) -> Result<Standing> {
        let cache = self.cache.path().join("cache");
        let how = Static { file: "key".into(), suite, cache };
        Standing::between("tsg0", &how, &self.key, self.addresses)
    }

    fn start(&self) -> Standing {
        self.try_start(Suite::ChaCha20Poly1305).unwrap()
    }
}

/// A packet of ESP.
fn seal(end: &mut Standing, now: u64) -> Result<Vec<u8>, SealError> {
    let plain = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 200, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2];
    let mut room = [&[0; HEAD_ROOM], plain.as_slice(), &[0; TAIL_ROOM]].concat();
    let mut packet = Packet::new(&mut room, HEAD_ROOM..HEAD_ROOM + plain.len()).unwrap();
    end.seal(&mut packet, protocol::IPV4, now)?;
    Ok(packet.bytes().to_vec())
}

fn hear(end: &mut Standing, esp: &[u8], now: u64) -> Result<Option<u8>, DropReason> {
    let mut room = [&[0; HEAD_ROOM], esp, &[0; TAIL_ROOM]].concat();
    let mut packet = Packet::new(&mut room, HEAD_ROOM..HEAD_ROOM + esp.len()).unwrap();
    end.hear(&mut packet, now)
}

fn header(esp: &[u8]) -> Header {
    Header::of_esp(esp).unwrap()
}

#[test]
fn both_have_the_same_keys_without_a_word() {
    for addresses in ADDRESSES {
        for suite in Suite::ALL {
            let hosts = Host::two(addresses);
            let Ok(mut one) = hosts[0].try_start(suite) else {
                assert!(suite == Suite::Aes256Gcm && !tsg_sodium::aes_available());
                continue;
            };
            let mut other = hosts[1].try_start(suite).unwrap();
            assert!(!one.is_up() && !other.is_up());
            let (there, back) = (seal(&mut one, 0).unwrap(), seal(&mut other, 0).unwrap());
            assert!(hear(&mut other, &there, 0).unwrap().is_some());
            assert!(hear(&mut one, &back, 0).unwrap().is_some());
            assert!(one.is_up() && other.is_up());
            // Once, and by nobody else; nor by who sealed it.
            assert_eq!(hear(&mut other, &there, 0), Err(DropReason::Replayed));
            assert_eq!(hear(&mut one, &there, 0), Err(DropReason::UnknownSender));
        }
    }
}

#[test]
fn key_cipher_and_addresses_each_lead_to_others() {
    let [host, _] = Host::two(ADDRESSES[0]);
    let [stranger, _] = Host::two(ADDRESSES[0]);
    let own = |key: &Key, suite, from, to| key.standing(suite, from, to);
    let chacha = Suite::ChaCha20Poly1305;
    let all = [
        own(&host.key, chacha, v4(1), v4(2)),
        own(&host.key, chacha, v4(2), v4(1)),
        own(&host.key, chacha, v4(1), v4(3)),
        own(&host.key, Suite::Aes256Gcm, v4(1), v4(2)),
        own(&stranger.key, chacha, v4(1), v4(2)),
    ];
    for (place, one) in all.iter().enumerate() {
        for other in &all[..place] {
            assert!(one.0 != other.0 && one.1 != other.1);
        }
    }
}

#[test]
fn no_start_uses_a_number_again_and_each_draws_a_half_of_the_iv() {
    let [host, _] = Host::two(ADDRESSES[0]);
    let (mut numbers, mut halves) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let mut end = host.start();
        // Beyond the end of what was leased at the start. Then it is gone without a word.
        let sealed: Vec<Header> = (0..40).map(|_| header(&seal(&mut end, 0).unwrap())).collect();
        assert!(sealed.iter().all(|header| header.time == sealed[0].time));
        numbers.extend(sealed.iter().map(|header| header.sequence));
        halves.push(sealed[0].time);
    }
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    halves.sort_unstable();
    halves.dedup();
    assert!(halves.len() >= 4, "five draws of 32 bits: {halves:?}");
}

#[test]
fn a_copy_of_the_disk_draws_another_half_and_is_still_heard() {
    let [host, peer] = Host::two(ADDRESSES[0]);
    let mut peer = peer.start();
    let first = seal(&mut host.start(), 0).unwrap();
    hear(&mut peer, &first, 0).unwrap();
    // All of the record is gone, as with a disk of before.
    std::fs::remove_dir_all(host.cache.path().join("cache")).unwrap();
    let mut restored = host.start();
    let again = seal(&mut restored, 0).unwrap();
    assert_eq!(header(&first).sequence, header(&again).sequence);
    assert_ne!(header(&first).time, header(&again).time);
    assert_eq!(hear(&mut peer, &again, 1_000), Err(DropReason::TooOld));
    assert!(hear(&mut peer, &again, 5_000).unwrap().is_some());
}

#[test]
fn there_is_one_process_for_a_key() {
    let [host, _] = Host::two(ADDRESSES[0]);
    let _running = host.start();
    let error = format!("{:#}", host.try_start(Suite::ChaCha20Poly1305).err().unwrap());
    assert!(error.contains("another tsg runs"), "{error}");
}

#[test]
fn the_end_of_the_numbers_is_the_end() {
    let [host, _] = Host::two(ADDRESSES[0]);
    let mut end = host.start();
    end.numbers.set_leased(SEQUENCE_END - 40);
    assert_eq!(end.numbers.more(0), Some(SEQUENCE_END - 24));
    drop(end);
    let mut end = host.start();
    for number in SEQUENCE_END - 24..SEQUENCE_END {
        assert_eq!(u64::from(header(&seal(&mut end, 0).unwrap()).sequence), number);
    }
    assert_eq!(seal(&mut end, 0), Err(SealError::Exhausted));
    assert_eq!(end.sender.sequence(), SEQUENCE_END);
    end.tick(0);
    assert!(end.numbers.is_over());
    drop(end);
    let error = format!("{:#}", host.try_start(Suite::ChaCha20Poly1305).err().unwrap());
    assert!(error.contains("used up") && error.contains("new key"), "{error}");
}

#[test]
fn what_cannot_be_recorded_is_not_sealed() {
    let [host, _] = Host::two(ADDRESSES[0]);
    let mut end = host.start();
    let cache = host.cache.path().join("cache");
    let folder = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_dir_all(&folder).unwrap();
    let sealed = (0..100).take_while(|_| seal(&mut end, 10_000).is_ok()).count();
    assert!(sealed < 20, "{sealed}");
    std::fs::create_dir(&folder).unwrap();
    assert!(seal(&mut end, 20_000).is_ok());
}
