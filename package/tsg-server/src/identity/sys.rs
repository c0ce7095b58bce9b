//! The one call into libzmq that its Rust crate does not offer: the public half of a secret key.
//! Specification: zmq_curve_public(3), libzmq 4.2 and later.
#![allow(unsafe_code)]

use anyhow::{Context, Result, ensure};
use std::ffi::{c_char, c_int};
use tsg_control::keys::PublicKey;
use zeroize::Zeroizing;

/// A key as Z85 text, 40 characters, and a byte 0.
const Z85_WITH_NUL: usize = 41;

// SAFETY: this is the declaration in zmq.h; the crate `zmq` links the library.
unsafe extern "C" {
    fn zmq_curve_public(z85_public: *mut c_char, z85_secret: *const c_char) -> c_int;
}

pub(super) fn public_of(secret: &[u8; 32]) -> Result<PublicKey> {
    let z85 = Zeroizing::new(zmq::z85_encode(secret)?);
    let mut secret_text = Zeroizing::new([0_u8; Z85_WITH_NUL]);
    secret_text[..z85.len()].copy_from_slice(z85.as_bytes());
    let mut public_text = [0_u8; Z85_WITH_NUL];
    // SAFETY: the secret is a C string of 40 characters, the public one has room for the 41 bytes
    // that libzmq writes; both live through the call.
    let status = unsafe {
        zmq_curve_public(public_text.as_mut_ptr().cast(), secret_text.as_ptr().cast::<c_char>())
    };
    ensure!(status == 0, "libzmq could not compute a public key: was it built with CURVE?");
    let text = std::str::from_utf8(&public_text[..Z85_WITH_NUL - 1])?;
    text.parse().context("libzmq gave a public key that is no key")
}
