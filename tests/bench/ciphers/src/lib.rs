//! Nothing but its bench: `cargo bench --manifest-path tests/bench/ciphers/Cargo.toml`.
