//! A new password for somebody.

use crate::accounts::{AccountError, PasswordHash};
use crate::prompt;
use anyhow::{Result, anyhow};

/// Its hash.
pub(super) fn ask() -> Result<PasswordHash> {
    let password = prompt::new("password")?;
    tsg_sodium::init()?;
    PasswordHash::of(&password).map_err(|error| match error {
        AccountError::NotFound(text)
        | AccountError::Conflict(text)
        | AccountError::Changed(text)
        | AccountError::Invalid(text) => {
            anyhow!(text)
        }
    })
}
