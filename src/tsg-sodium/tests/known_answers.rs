//! libsodium against published vectors and against RustCrypto.

#[test]
fn the_self_test_passes() {
    tsg_sodium::init().unwrap();
    tsg_sodium::self_test().unwrap();
}
