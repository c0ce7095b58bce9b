//! The calls into libsodium, with slices for pointers. Nothing above this module is unsafe.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_ulonglong};
use core::fmt;
use core::ptr;

use libsodium_sys as ffi;
use tsg_esp::crypto::{ICV_LEN, KDF_CONTEXT, Unauthentic};
use zeroize::Zeroize;

pub(crate) fn init() -> bool {
    // SAFETY: takes no arguments; libsodium guards against being called by several threads.
    unsafe { ffi::sodium_init() >= 0 }
}

pub(crate) fn version() -> &'static str {
    // SAFETY: takes no arguments; gives a text that is part of the library.
    let text = unsafe { CStr::from_ptr(ffi::sodium_version_string()) };
    text.to_str().unwrap_or_default()
}

pub(crate) fn aes_is_available() -> bool {
    // SAFETY: takes no arguments; reads what `sodium_init` found out about the processor.
    unsafe { ffi::crypto_aead_aes256gcm_is_available() == 1 }
}

pub(crate) fn random(bytes: &mut [u8]) {
    // SAFETY: the pointer is valid for writes of the length passed with it.
    unsafe { ffi::randombytes_buf(bytes.as_mut_ptr().cast(), bytes.len()) }
}

pub(crate) fn scalarmult_base(secret: &[u8; 32]) -> [u8; 32] {
    let mut public = [0; 32];
    // SAFETY: both have the 32 bytes that libsodium writes and reads. With the base point the call
    // has no error.
    unsafe { ffi::crypto_scalarmult_base(public.as_mut_ptr(), secret.as_ptr()) };
    public
}

pub(crate) fn stackzero(bytes: usize) {
    // SAFETY: libsodium writes to an array of this size in its own frame, which every stack of ours
    // has room for.
    unsafe { ffi::sodium_stackzero(bytes) }
}

/// Whether it worked: libsodium refuses output lengths under 16 and over 64 only.
pub(crate) fn kdf_derive(output: &mut [u8; 36], subkey_id: u64, key: &[u8; 32]) -> bool {
    let context: *const c_char = KDF_CONTEXT.as_ptr().cast();
    // SAFETY: output is valid for its length; context has the 8 and key the 32 bytes that libsodium
    // reads.
    let result = unsafe {
        ffi::crypto_kdf_derive_from_key(
            output.as_mut_ptr(),
            output.len(),
            subkey_id,
            context,
            key.as_ptr(),
        )
    };
    result == 0
}

pub(crate) fn chacha_seal(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    data: &mut [u8],
) -> [u8; ICV_LEN] {
    let mut icv = [0; ICV_LEN];
    let bytes = data.as_mut_ptr();
    // SAFETY: bytes is valid for reads and writes of the length of data, and libsodium allows it to
    // be input and output; icv has room for the 16 bytes of a tag, aad is valid for its length,
    // nonce and key have the sizes of the IETF variant. The tag length pointer and the unused
    // secret nonce may be null. The call has no error.
    unsafe {
        ffi::crypto_aead_chacha20poly1305_ietf_encrypt_detached(
            bytes,
            icv.as_mut_ptr(),
            ptr::null_mut(),
            bytes.cast_const(),
            data.len() as c_ulonglong,
            aad.as_ptr(),
            aad.len() as c_ulonglong,
            ptr::null(),
            nonce.as_ptr(),
            key.as_ptr(),
        );
    }
    icv
}

pub(crate) fn chacha_open(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    data: &mut [u8],
    icv: &[u8; ICV_LEN],
) -> Result<(), Unauthentic> {
    let bytes = data.as_mut_ptr();
    // SAFETY: as in `chacha_seal`, with icv read instead of written.
    let result = unsafe {
        ffi::crypto_aead_chacha20poly1305_ietf_decrypt_detached(
            bytes,
            ptr::null_mut(),
            bytes.cast_const(),
            data.len() as c_ulonglong,
            icv.as_ptr(),
            aad.as_ptr(),
            aad.len() as c_ulonglong,
            nonce.as_ptr(),
            key.as_ptr(),
        )
    };
    authentic(result, data)
}

/// Whether it worked: libsodium refuses public keys of a small order.
pub(crate) fn box_beforenm(shared: &mut [u8; 32], public: &[u8; 32], secret: &[u8; 32]) -> bool {
    // SAFETY: all three have the 32 bytes that libsodium writes and reads.
    let result =
        unsafe { ffi::crypto_box_beforenm(shared.as_mut_ptr(), public.as_ptr(), secret.as_ptr()) };
    result == 0
}

pub(crate) fn box_seal(key: &[u8; 32], nonce: &[u8; 24], data: &mut [u8]) -> [u8; 16] {
    let mut mac = [0; 16];
    let bytes = data.as_mut_ptr();
    // SAFETY: bytes is valid for reads and writes of the length of data, and libsodium allows it to
    // be input and output; mac, nonce and key have their sizes. The call has no error.
    unsafe {
        ffi::crypto_box_detached_afternm(
            bytes,
            mac.as_mut_ptr(),
            bytes.cast_const(),
            data.len() as c_ulonglong,
            nonce.as_ptr(),
            key.as_ptr(),
        );
    }
    mac
}

pub(crate) fn box_open(
    key: &[u8; 32],
    nonce: &[u8; 24],
    data: &mut [u8],
    mac: &[u8; 16],
) -> Result<(), Unauthentic> {
    let bytes = data.as_mut_ptr();
    // SAFETY: as in `box_seal`, with mac read instead of written.
    let result = unsafe {
        ffi::crypto_box_open_detached_afternm(
            bytes,
            bytes.cast_const(),
            mac.as_ptr(),
            data.len() as c_ulonglong,
            nonce.as_ptr(),
            key.as_ptr(),
        )
    };
    authentic(result, data)
}

/// As [`chacha_seal`], with a nonce that is long enough to be random.
pub(crate) fn xchacha_seal(
    key: &[u8; 32],
    nonce: &[u8; 24],
    aad: &[u8],
    data: &mut [u8],
) -> [u8; 16] {
    let mut mac = [0; 16];
    let bytes = data.as_mut_ptr();
    // SAFETY: as in `chacha_seal`; nonce and key have the sizes of the extended variant.
    unsafe {
        ffi::crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
            bytes,
            mac.as_mut_ptr(),
            ptr::null_mut(),
            bytes.cast_const(),
            data.len() as c_ulonglong,
            aad.as_ptr(),
            aad.len() as c_ulonglong,
            ptr::null(),
            nonce.as_ptr(),
            key.as_ptr(),
        );
    }
    mac
}

pub(crate) fn xchacha_open(
    key: &[u8; 32],
    nonce: &[u8; 24],
    aad: &[u8],
    data: &mut [u8],
    mac: &[u8; 16],
) -> Result<(), Unauthentic> {
    let bytes = data.as_mut_ptr();
    // SAFETY: as in `xchacha_seal`, with mac read instead of written.
    let result = unsafe {
        ffi::crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
            bytes,
            ptr::null_mut(),
            bytes.cast_const(),
            data.len() as c_ulonglong,
            mac.as_ptr(),
            aad.as_ptr(),
            aad.len() as c_ulonglong,
            nonce.as_ptr(),
            key.as_ptr(),
        )
    };
    authentic(result, data)
}

/// Whether it worked: libsodium refuses public keys of a small order.
pub(crate) fn scalarmult(shared: &mut [u8; 32], secret: &[u8; 32], public: &[u8; 32]) -> bool {
    // SAFETY: all three have the 32 bytes that libsodium writes and reads.
    let result =
        unsafe { ffi::crypto_scalarmult(shared.as_mut_ptr(), secret.as_ptr(), public.as_ptr()) };
    result == 0
}

pub(crate) fn hmac_sha256(mac: &mut [u8; 32], key: &[u8], bytes: &[u8]) {
    let mut state = core::mem::MaybeUninit::<ffi::crypto_auth_hmacsha256_state>::uninit();
    let at = state.as_mut_ptr();
    // SAFETY: the state has libsodium's own type and is set up by the first call; key and bytes are valid for reads of
    // their lengths, mac has the 32 bytes that are written. The calls have no error. The last one overwrites the state,
    // which the key went into.
    unsafe {
        ffi::crypto_auth_hmacsha256_init(at, key.as_ptr(), key.len());
        ffi::crypto_auth_hmacsha256_update(at, bytes.as_ptr(), bytes.len() as c_ulonglong);
        ffi::crypto_auth_hmacsha256_final(at, mac.as_mut_ptr());
        ffi::sodium_memzero(at.cast(), size_of::<ffi::crypto_auth_hmacsha256_state>());
    }
}

/// The key schedule of AES-256-GCM: 512 bytes, aligned to 16 by the type. Zeroed on drop.
pub(crate) struct AesState(ffi::crypto_aead_aes256gcm_state);

impl AesState {
    /// `None` if this processor has no AES instructions.
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        if !aes_is_available() {
            return None;
        }
        let mut state = Self(ffi::crypto_aead_aes256gcm_state { opaque: [0; 512] });
        state.set_key(key);
        Some(state)
    }

    pub(crate) fn set_key(&mut self, key: &[u8; 32]) {
        // SAFETY: the state has libsodium's own type, key has its 32 bytes, and the instructions
        // are there, since `new` found them.
        unsafe { ffi::crypto_aead_aes256gcm_beforenm(&raw mut self.0, key.as_ptr()) };
    }

    pub(crate) fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; ICV_LEN] {
        let mut icv = [0; ICV_LEN];
        let bytes = data.as_mut_ptr();
        // SAFETY: as in `chacha_seal`; the state was set up by `new`, which is the only way to get
        // one.
        unsafe {
            ffi::crypto_aead_aes256gcm_encrypt_detached_afternm(
                bytes,
                icv.as_mut_ptr(),
                ptr::null_mut(),
                bytes.cast_const(),
                data.len() as c_ulonglong,
                aad.as_ptr(),
                aad.len() as c_ulonglong,
                ptr::null(),
                nonce.as_ptr(),
                &raw const self.0,
            );
        }
        icv
    }

    pub(crate) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        icv: &[u8; ICV_LEN],
    ) -> Result<(), Unauthentic> {
        let bytes = data.as_mut_ptr();
        // SAFETY: as in `seal`, with icv read instead of written.
        let result = unsafe {
            ffi::crypto_aead_aes256gcm_decrypt_detached_afternm(
                bytes,
                ptr::null_mut(),
                bytes.cast_const(),
                data.len() as c_ulonglong,
                icv.as_ptr(),
                aad.as_ptr(),
                aad.len() as c_ulonglong,
                nonce.as_ptr(),
                &raw const self.0,
            )
        };
        authentic(result, data)
    }
}

impl Drop for AesState {
    fn drop(&mut self) {
        self.0.opaque.zeroize();
    }
}

impl fmt::Debug for AesState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

pub(crate) fn password_hash(password: &[u8]) -> Option<String> {
    let mut text = [0_u8; ffi::crypto_pwhash_STRBYTES as usize];
    // SAFETY: text has the size that libsodium writes, which ends with a zero; password is valid for reads of its length.
    let result = unsafe {
        ffi::crypto_pwhash_str(
            text.as_mut_ptr().cast(),
            password.as_ptr().cast(),
            password.len() as c_ulonglong,
            ffi::crypto_pwhash_OPSLIMIT_INTERACTIVE.into(),
            ffi::crypto_pwhash_MEMLIMIT_INTERACTIVE as usize,
        )
    };
    let text = CStr::from_bytes_until_nul(&text).ok()?.to_str().ok()?;
    (result == 0).then(|| text.to_owned())
}

pub(crate) fn password_verify(hash: &str, password: &[u8]) -> bool {
    let mut text = [0_u8; ffi::crypto_pwhash_STRBYTES as usize];
    // The last one stays zero: it ends the text.
    if hash.len() >= text.len() {
        return false;
    }
    text[..hash.len()].copy_from_slice(hash.as_bytes());
    // SAFETY: text ends with a zero; password is valid for reads of its length.
    let result = unsafe {
        ffi::crypto_pwhash_str_verify(
            text.as_ptr().cast(),
            password.as_ptr().cast(),
            password.len() as c_ulonglong,
        )
    };
    result == 0
}

/// Whether there was memory for it.
pub(crate) fn password_key(key: &mut [u8; 32], password: &[u8], salt: &[u8; 16]) -> bool {
    // SAFETY: key and salt have the sizes that are passed or fixed; password is valid for reads of its length.
    let result = unsafe {
        ffi::crypto_pwhash(
            key.as_mut_ptr(),
            key.len() as c_ulonglong,
            password.as_ptr().cast(),
            password.len() as c_ulonglong,
            salt.as_ptr(),
            ffi::crypto_pwhash_OPSLIMIT_MODERATE.into(),
            ffi::crypto_pwhash_MEMLIMIT_MODERATE as usize,
            ffi::crypto_pwhash_ALG_ARGON2ID13 as i32,
        )
    };
    result == 0
}

/// What libsodium leaves behind after a failure differs by version and cipher, so it is wiped here.
fn authentic(result: i32, data: &mut [u8]) -> Result<(), Unauthentic> {
    if result == 0 {
        return Ok(());
    }
    data.fill(0);
    Err(Unauthentic)
}
