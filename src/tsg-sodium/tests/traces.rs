//! What keys leave in memory: nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use traces::Traces;
use tsg_esp::crypto::{Cipher as _, Kdf as _, Spi, Suite, Tek};
use tsg_sodium::{AnyCipher, Sodium, aes_available, init, on_a_clean_stack, random};

/// Works with the key of a sender, and gives what it was.
fn work(suite: Suite, tek: &Tek) -> (Box<AnyCipher>, Traces) {
    let mut cipher = Box::new(AnyCipher::blank(suite).unwrap());
    let key = Sodium::derive(tek, Spi::new(1, 2).unwrap());
    cipher.set_key(&key);
    let mut data = [0; 100];
    let icv = cipher.seal(&[0; 12], b"", &mut data);
    cipher.open(&[0; 12], b"", &mut data, &icv).unwrap();
    (cipher, Traces::of(&key.key))
}

#[test]
fn a_key_is_in_one_place_and_then_in_none() {
    init().unwrap();
    let suites =
        Suite::ALL.into_iter().filter(|&suite| suite != Suite::Aes256Gcm || aes_available());
    for suite in suites {
        let mut tek = Box::new(Tek::new([0; 32]));
        random(tek.expose_mut());
        let secret = Traces::of(tek.expose());
        let (cipher, key) = on_a_clean_stack(|| work(suite, &tek));
        assert_eq!(secret.count(), 4, "{suite:?}: the TEK is in one place");
        assert_eq!(key.count(), 4, "{suite:?}: the key is in one place");
        drop((cipher, tek));
        assert_eq!((secret.count(), key.count()), (0, 0), "{suite:?}");
    }
}
