//! Sealing a packet in place with each library: 24 bytes of associated data, a tag of 16, a nonce of 12.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};

const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 12] = [9; 12];
const AAD: [u8; 24] = [3; 24];
const SIZES: [usize; 2] = [64, 1_400];

fn main() {
    tsg_sodium::init().expect("libsodium does not start");
    divan::main();
}

fn run(bencher: Bencher<'_, '_>, size: usize, seal: impl Fn(&mut [u8]) -> [u8; 16]) {
    let mut packet = vec![0x5a; size];
    bencher.counter(BytesCount::new(size)).bench_local(|| black_box(seal(black_box(&mut packet))));
}

mod aes_256_gcm {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn libsodium(bencher: Bencher<'_, '_>, size: usize) {
        use tsg_esp::crypto::Cipher as _;
        let Ok(cipher) = tsg_sodium::Aes256Gcm::new(&KEY) else { return };
        run(bencher, size, |packet| cipher.seal(&NONCE, &AAD, packet));
    }

    #[divan::bench(args = SIZES)]
    fn rustcrypto(bencher: Bencher<'_, '_>, size: usize) {
        use aes_gcm::{AeadInPlace as _, KeyInit as _};
        let cipher = aes_gcm::Aes256Gcm::new(&KEY.into());
        run(bencher, size, |packet| {
            cipher.encrypt_in_place_detached(&NONCE.into(), &AAD, packet).unwrap().into()
        });
    }

    #[divan::bench(args = SIZES)]
    fn ring(bencher: Bencher<'_, '_>, size: usize) {
        super::ring(bencher, size, &::ring::aead::AES_256_GCM);
    }

    #[divan::bench(args = SIZES)]
    fn aws_lc(bencher: Bencher<'_, '_>, size: usize) {
        super::aws_lc(bencher, size, &aws_lc_rs::aead::AES_256_GCM);
    }
}

mod chacha20_poly1305 {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn libsodium(bencher: Bencher<'_, '_>, size: usize) {
        use tsg_esp::crypto::Cipher as _;
        let cipher = tsg_sodium::ChaCha20Poly1305::new(&KEY);
        run(bencher, size, |packet| cipher.seal(&NONCE, &AAD, packet));
    }

    #[divan::bench(args = SIZES)]
    fn rustcrypto(bencher: Bencher<'_, '_>, size: usize) {
        use chacha20poly1305::{AeadInPlace as _, KeyInit as _};
        let cipher = chacha20poly1305::ChaCha20Poly1305::new(&KEY.into());
        run(bencher, size, |packet| {
            cipher.encrypt_in_place_detached(&NONCE.into(), &AAD, packet).unwrap().into()
        });
    }

    #[divan::bench(args = SIZES)]
    fn ring(bencher: Bencher<'_, '_>, size: usize) {
        super::ring(bencher, size, &::ring::aead::CHACHA20_POLY1305);
    }

    #[divan::bench(args = SIZES)]
    fn aws_lc(bencher: Bencher<'_, '_>, size: usize) {
        super::aws_lc(bencher, size, &aws_lc_rs::aead::CHACHA20_POLY1305);
    }
}

fn ring(bencher: Bencher<'_, '_>, size: usize, algorithm: &'static ::ring::aead::Algorithm) {
    use ::ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &KEY).unwrap());
    run(bencher, size, |packet| {
        let nonce = Nonce::assume_unique_for_key(NONCE);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&AAD), packet).unwrap();
        tag.as_ref().try_into().unwrap()
    });
}

fn aws_lc(bencher: Bencher<'_, '_>, size: usize, algorithm: &'static aws_lc_rs::aead::Algorithm) {
    use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &KEY).unwrap());
    run(bencher, size, |packet| {
        let nonce = Nonce::assume_unique_for_key(NONCE);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&AAD), packet).unwrap();
        tag.as_ref().try_into().unwrap()
    });
}
