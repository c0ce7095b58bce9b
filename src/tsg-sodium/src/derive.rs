//! Keys out of keys: X25519 (RFC 7748), HMAC-SHA-256 (RFC 2104), HKDF-SHA-256 (RFC 5869). The file format age is made of them.

use zeroize::Zeroizing;

use crate::{WeakKey, sys};

/// What one's own secret key and the other's public one have in common.
///
/// # Errors
///
/// [`WeakKey`].
pub fn x25519(secret: &[u8; 32], public: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, WeakKey> {
    let mut shared = Zeroizing::new([0; 32]);
    if sys::scalarmult(&mut shared, secret, public) { Ok(shared) } else { Err(WeakKey) }
}

/// The authenticator of some bytes.
pub fn hmac_sha256(key: &[u8], bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Zeroizing::new([0; 32]);
    sys::hmac_sha256(&mut mac, key, bytes);
    mac
}

/// A key of 32 bytes for a purpose.
pub fn hkdf_sha256(secret: &[u8], salt: &[u8], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let key = hmac_sha256(salt, secret);
    let mut first = purpose.to_vec();
    // The first block is all that 32 bytes take.
    first.push(1);
    hmac_sha256(key.as_slice(), &first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }

    /// RFC 7748 section 6.1.
    #[test]
    fn a_published_agreement() {
        crate::init().unwrap();
        let array = |text: &str| <[u8; 32]>::try_from(bytes(text)).unwrap();
        let alice = array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let bob = array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        assert_eq!(
            *x25519(&alice, &bob).unwrap(),
            array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
        );
        assert_eq!(x25519(&alice, &[0; 32]).unwrap_err(), WeakKey);
    }

    /// RFC 4231 sections 4.2 and 4.7: a key shorter and one longer than a block.
    #[test]
    fn published_authenticators() {
        crate::init().unwrap();
        assert_eq!(
            hmac_sha256(&[0x0b; 20], b"Hi There")[..],
            bytes("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
        );
        assert_eq!(
            hmac_sha256(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")[..],
            bytes("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
        );
    }

    /// RFC 5869 appendices A.1 and A.3, their first 32 bytes.
    #[test]
    fn published_keys() {
        crate::init().unwrap();
        let (salt, purpose) = (bytes("000102030405060708090a0b0c"), bytes("f0f1f2f3f4f5f6f7f8f9"));
        assert_eq!(
            hkdf_sha256(&[0x0b; 22], &salt, &purpose)[..],
            bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")
        );
        assert_eq!(
            hkdf_sha256(&[0x0b; 22], b"", b"")[..],
            bytes("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d")
        );
    }
}
