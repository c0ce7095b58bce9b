//! Passwords are hashed on other threads, a few at once: each takes 64 MiB and a tenth of a second.

use crate::accounts::{AccountError, PasswordHash};
use crate::operations::Refusal;
use std::sync::Arc;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// At once.
const MOST: usize = 2;

/// Room for those.
pub(super) struct Hashing(Arc<Semaphore>);

impl Default for Hashing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Hashing {
    /// Does it when there is room. Who does not wait for it any more makes no room before it is done.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let room = Arc::clone(&self.0).acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(room);
            done
        });
        done.await.ok()
    }

    /// The hash of a new password.
    pub(super) async fn hash(&self, password: Zeroizing<String>) -> Result<PasswordHash, Refusal> {
        let made = self.work(move || PasswordHash::of(&password)).await;
        let gone = || AccountError::Conflict("the server is ending".to_owned());
        made.unwrap_or_else(|| Err(gone())).map_err(Refusal::from)
    }

    /// Is it the hash of this password?
    pub(super) async fn fits(&self, hash: PasswordHash, password: Zeroizing<String>) -> bool {
        self.work(move || hash.fits(&password)).await == Some(true)
    }
}
