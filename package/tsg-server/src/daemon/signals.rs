//! Signals, read from a file descriptor like everything else.

use crate::operations::Operator;
use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// What a signal asks for.
pub(super) enum Asked {
    /// SIGTERM, SIGINT: end.
    End,
    /// SIGUSR1: a new epoch for every group.
    Rekey(Operator),
    /// SIGHUP: nothing; there is no configuration to read again.
    Nothing,
}

/// The signals that the daemon takes.
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Blocks them for this thread and those that it starts.
    pub(super) fn take() -> Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block().context("cannot block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags).map(Self).context("cannot take signals")
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next one that has come.
    pub(super) fn next(&self) -> Result<Option<Asked>> {
        let Some(info) = self.0.read_signal().context("cannot read signals")? else {
            return Ok(None);
        };
        let signal = i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok());
        Ok(Some(match signal {
            Some(Signal::SIGTERM | Signal::SIGINT) => Asked::End,
            Some(Signal::SIGUSR1) => Asked::Rekey(Operator::signal(info.ssi_uid, info.ssi_pid)),
            Some(_) | None => Asked::Nothing,
        }))
    }
}
