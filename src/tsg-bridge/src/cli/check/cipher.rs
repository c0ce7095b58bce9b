//! Does libsodium compute what it should here, and which ciphers can this processor do?

use anyhow::Result;

use super::report::Report;

pub(super) fn check(report: &mut Report<'_>) -> Result<()> {
    if let Err(error) = tsg_sodium::init() {
        return report.problem("cipher", &error.to_string());
    }
    match tsg_sodium::self_test() {
        Ok(()) => report.good("cipher", &ciphers(tsg_sodium::aes_available())),
        Err(error) => report.problem("cipher", &error.to_string()),
    }
}

/// What this gateway offers to the key server.
fn ciphers(aes: bool) -> String {
    let others = if aes {
        "and, in hardware, AES-256-GCM"
    } else {
        "only: this processor has no instructions for AES-256-GCM"
    };
    format!("known answers are right; ChaCha20-Poly1305 {others}; libsodium {}", tsg_sodium::version())
}
