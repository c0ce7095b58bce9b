//! The arguments of `tsg tunnel` where another program understands them.

use super::{Command, Found, UsageError};
use crate::cli::Carry;
use std::ffi::OsString;

/// As they are.
pub(super) const fn modern(argument: OsString) -> OsString {
    argument
}

/// What comes after these words is not looked at here: the other program may be a newer one.
pub(super) fn is_elsewhere(words: &[OsString]) -> bool {
    words == ["tunnel"]
}

impl Found {
    /// `tsg tunnel`.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the one with the feature has both"
    )]
    pub(super) const fn tunnel_command(
        &mut self,
        _: &mut impl Iterator<Item = OsString>,
    ) -> Result<Command, UsageError> {
        Ok(Command::Tunnel(Carry))
    }
}
