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
    format!(
        "known answers are right; ChaCha20-Poly1305 {others}; libsodium {}",
        tsg_sodium::version()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_is_named_where_the_processor_has_it() {
        let mut out = Vec::new();
        check(&mut Report::new(&mut out)).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(line.starts_with("ok       cipher: known answers are right"), "{line}");
        assert_eq!(
            line.contains("in hardware, AES-256-GCM"),
            tsg_sodium::aes_available(),
            "{line}"
        );
        assert!(ciphers(false).contains("ChaCha20-Poly1305 only"));
    }
}
