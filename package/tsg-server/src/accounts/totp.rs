//! The second factor: codes of an authenticator app, as RFC 6238 has them (SHA-1, six digits, 30 seconds: what every app
//! knows).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use totp_rs::{Builder, Secret};
use zeroize::Zeroizing;

/// What the app and the server share. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(Zeroizing<[u8; 20]>);

impl TotpSecret {
    /// A new one.
    pub fn random() -> Self {
        let mut secret = Zeroizing::new([0; 20]);
        tsg_sodium::random(secret.as_mut_slice());
        Self(secret)
    }

    /// Reads the text form; `None` if it is none.
    pub fn read(text: &str) -> Option<Self> {
        let secret = Secret::try_from_base32(text).ok()?;
        secret.as_bytes().try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// In base32, as it is typed into an app.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(Secret::new_stack(*self.0).to_base32())
    }

    /// As apps read it from a QR code. Names of users have no sign that would need to be escaped but `@` and `+`.
    pub fn uri(&self, user: &str) -> Zeroizing<String> {
        let user = user.replace('@', "%40").replace('+', "%2B");
        let text = self.text();
        Zeroizing::new(format!("otpauth://totp/TSG:{user}?secret={}&issuer=TSG", *text))
    }

    /// Is this the app's code at `now`, in seconds since 1970, or one of its neighbours? Gives the number of its half
    /// minute: who has used it once must not use it, or one before it, again.
    pub fn step(&self, code: &str, now: u64) -> Option<u64> {
        let digits: Zeroizing<String> =
            Zeroizing::new(code.chars().filter(|sign| !sign.is_whitespace()).take(16).collect());
        let totp = Builder::new().with_secret(Secret::new_stack(*self.0)).build().ok()?;
        totp.check(&digits, now)
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Serialize for TotpSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for TotpSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::read(&text)
            .ok_or_else(|| serde::de::Error::custom("this is no secret of 20 bytes in base32"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, of whose eight digits apps show the last six.
    #[test]
    fn the_codes_are_those_of_the_rfc() {
        let secret = TotpSecret(Zeroizing::new(*b"12345678901234567890"));
        for (now, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(secret.step(code, now), Some(now / 30), "{now}");
            assert_eq!(
                secret.step(&format!(" {} {}", &code[..3], &code[3..]), now),
                Some(now / 30)
            );
            assert_eq!(secret.step(code, now + 30), Some(now / 30), "somebody types slowly");
            assert_eq!(secret.step(code, now + 60), None);
        }
        for wrong in ["", "28708", "2870822", "abcdef", "287083", "２８７０８２"] {
            assert_eq!(secret.step(wrong, 59), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_secret_comes_back() {
        tsg_sodium::init().unwrap();
        let secret = TotpSecret::random();
        assert_eq!(TotpSecret::read(&secret.text()), Some(secret.clone()));
        assert_eq!(format!("{secret:?}"), "<secret>");
        assert!(TotpSecret::read("GEZDGNBVGY3TQOJQ").is_none(), "ten bytes");
        let uri = secret.uri("ann@plant");
        assert!(uri.starts_with("otpauth://totp/TSG:ann%40plant?secret="), "{}", *uri);
    }
}
