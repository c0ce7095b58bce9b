//! libsodium against published vectors and against RustCrypto.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

#[path = "../../tsg-esp/tests/packet/known.rs"]
mod known;
#[path = "../../tsg-esp/tests/packet/rustcrypto.rs"]
mod rustcrypto;

use known::{KNOWN, array, bytes};
use proptest::prelude::*;
use rustcrypto::{Blake2, TestCipher};
use tsg_esp::crypto::{Cipher, Kdf, SenderKey, Spi, Suite, Tek};
use tsg_sodium::{AnyCipher, Sodium, aes_available, init, public_key, random, self_test};

/// The suite's cipher, or `None` and a word about it where the processor has no AES.
fn cipher(suite: Suite, key: &[u8; 32]) -> Option<AnyCipher> {
    init().unwrap();
    let key = SenderKey { key: *key, salt: [0; 4] };
    let cipher = AnyCipher::blank(suite);
    if suite == Suite::Aes256Gcm && !aes_available() {
        println!("skipped: no AES instructions here");
        assert_eq!(cipher.err(), Some(tsg_sodium::NoAes));
        return None;
    }
    let mut cipher = cipher.unwrap();
    cipher.set_key(&key);
    assert_eq!(cipher.suite(), suite);
    Some(cipher)
}

#[test]
fn the_self_test_passes() {
    init().unwrap();
    self_test().unwrap();
}

/// In software it would tell its key by how long it takes.
#[test]
fn aes_is_for_processors_that_have_instructions_for_it() {
    init().unwrap();
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let words = |name: &str| -> Vec<&str> {
        let line = about
            .lines()
            .find(|line| line.split(':').next().is_some_and(|word| word.trim() == name));
        line.map(|line| line.split_whitespace().collect()).unwrap_or_default()
    };
    let has = match std::env::consts::ARCH {
        "x86_64" => ["aes", "pclmulqdq", "avx"].iter().all(|word| words("flags").contains(word)),
        "aarch64" => ["aes", "pmull"].iter().all(|word| words("Features").contains(word)),
        _ => false,
    };
    assert_eq!(aes_available(), has);
    let made = AnyCipher::blank(Suite::Aes256Gcm);
    assert_eq!(made.err(), if has { None } else { Some(tsg_sodium::NoAes) });
}

/// RFC 7748 section 6.1.
#[test]
fn a_published_pair() {
    init().unwrap();
    let secret = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
    let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    assert_eq!(public_key(&array(secret)), array(public));
}

#[test]
fn published_packets() {
    for known in &KNOWN {
        let Some(cipher) = cipher(known.suite, &array(known.key)) else { continue };
        let (nonce, aad) = (array(known.nonce), bytes(known.aad));
        let mut data = bytes(known.plain);
        let icv = cipher.seal(&nonce, &aad, &mut data);
        assert_eq!([&data[..], &icv].concat(), bytes(known.sealed));
        cipher.open(&nonce, &aad, &mut data, &icv).unwrap();
        assert_eq!(data, bytes(known.plain));
    }
    println!("{} vectors", KNOWN.len());
}

/// RFC 8439 section 2.8.2.
#[test]
fn the_sunscreen_speech() {
    let key = array("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let cipher = cipher(Suite::ChaCha20Poly1305, &key).unwrap();
    let mut data = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                     for the future, sunscreen would be it."
        .to_vec();
    let nonce = array("070000004041424344454647");
    let icv = cipher.seal(&nonce, &bytes("50515253c0c1c2c3c4c5c6c7"), &mut data);
    assert_eq!(data[..16], bytes("d31a8d34648e60db7b86afbc53ef7ec2"));
    assert_eq!(icv, array("1ae10b594f09e26a7e902ecbd0600691"));
}

#[test]
fn nothing_is_left_of_what_does_not_authenticate() {
    for cipher in Suite::ALL.into_iter().filter_map(|suite| cipher(suite, &[1; 32])) {
        for len in [0, 1, 15, 16, 17, 1400] {
            let mut data = vec![0x33; len];
            let icv = cipher.seal(&[2; 12], b"aad", &mut data);
            let sealed = data.clone();
            for changed in 0..16 {
                let mut wrong = icv;
                wrong[changed] ^= 0x80;
                data.copy_from_slice(&sealed);
                assert!(cipher.open(&[2; 12], b"aad", &mut data, &wrong).is_err());
                assert_eq!(data, vec![0; len]);
            }
            data.copy_from_slice(&sealed);
            assert!(cipher.open(&[3; 12], b"aad", &mut data, &icv).is_err(), "another nonce");
            data.copy_from_slice(&sealed);
            assert!(cipher.open(&[2; 12], b"aae", &mut data, &icv).is_err(), "other AAD");
            data.copy_from_slice(&sealed);
            cipher.open(&[2; 12], b"aad", &mut data, &icv).unwrap();
            assert_eq!(data, vec![0x33; len]);
        }
    }
}

#[test]
fn random_bytes_are_not_the_same_twice() {
    init().unwrap();
    let (mut once, mut again) = ([0; 64], [0; 64]);
    random(&mut once);
    random(&mut again);
    random(&mut []);
    assert_ne!(once, again);
    assert_ne!(once, [0; 64]);
}

#[test]
fn keys_are_not_printed() {
    for suite in Suite::ALL {
        if let Some(cipher) = cipher(suite, &[0x77; 32]) {
            let printed = format!("{cipher:?}");
            assert!(printed.contains("<secret>") && !printed.contains("119"), "{printed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ciphers_agree_with_rustcrypto(
        suite in prop::sample::select(Suite::ALL.to_vec()),
        key in any::<[u8; 32]>(),
        nonce in any::<[u8; 12]>(),
        aad in proptest::collection::vec(any::<u8>(), 0..64),
        plain in proptest::collection::vec(any::<u8>(), 0..3000),
        // Packets begin anywhere in a buffer.
        shift in 0usize..17,
    ) {
        let Some(ours) = cipher(suite, &key) else { return Ok(()) };
        let theirs = TestCipher::new(suite, &key);
        let mut expected = plain.clone();
        let expected_icv = theirs.seal(&nonce, &aad, &mut expected);
        let mut buffer = vec![0; shift];
        buffer.extend_from_slice(&plain);
        let icv = ours.seal(&nonce, &aad, &mut buffer[shift..]);
        prop_assert_eq!(&buffer[shift..], &expected);
        prop_assert_eq!(icv, expected_icv);
        prop_assert!(ours.open(&nonce, &aad, &mut buffer[shift..], &icv).is_ok());
        prop_assert_eq!(&buffer[shift..], &plain);
    }

    #[test]
    fn the_key_derivation_agrees_with_blake2(
        tek in any::<[u8; 32]>(),
        epoch in 1u64..,
        sender in 1..=Spi::MAX_SENDER,
    ) {
        init().unwrap();
        let (tek, spi) = (Tek::new(tek), Spi::new(epoch, sender).unwrap());
        let (ours, theirs) = (Sodium::derive(&tek, spi), Blake2::derive(&tek, spi));
        prop_assert_eq!((ours.key, ours.salt), (theirs.key, theirs.salt));
    }
}
