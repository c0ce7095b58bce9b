//! Security associations: one for each worker in each direction (RFC 9611), so that none of them waits for another.
//!
//! The SPIs of one direction follow each other, and each has a key of its own out of the one secret.

use super::agreement::Session;
use core::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tsg_esp::crypto::{Kdf as _, Spi, Suite, Tek};
use tsg_esp::open::Receiver;
use tsg_esp::replay::Window;
use tsg_esp::seal::{SEQUENCE_END, Sender};
use tsg_sodium::{AnyCipher, NoAes, Sodium};

/// What one agreement has led to.
pub(super) struct Associations {
    /// The key that it was made under, by the SPI of its hellos.
    under: Spi,
    suite: Suite,
    outward: Vec<Mutex<Box<Sender<AnyCipher>>>>,
    first_inward: Spi,
    inward: Vec<Inward>,
    is_proven: AtomicBool,
}

/// What one of the other end's workers is opened with.
pub(super) struct Inward {
    pub(super) receiver: Box<Receiver<AnyCipher>>,
    window: Mutex<Box<Window>>,
}

impl Inward {
    pub(super) fn window(&self) -> MutexGuard<'_, Box<Window>> {
        lock(&self.window)
    }
}

impl Associations {
    pub(super) fn new(session: &Session, under: Spi) -> Result<Self, NoAes> {
        let (suite, [own, other]) = (session.suite, session.workers);
        let ((first_out, tek_out), (first_inward, tek_inward)) = (&session.out, &session.inward);
        let outward = |number| {
            sender(suite, nth(*first_out, number), tek_out, 1..SEQUENCE_END).map(Mutex::new)
        };
        let inward = |number| {
            let receiver = receiver(suite, nth(*first_inward, number), tek_inward)?;
            Ok(Inward { receiver, window: Mutex::default() })
        };
        Ok(Self {
            under,
            suite,
            outward: (0..own).map(outward).collect::<Result<_, _>>()?,
            first_inward: *first_inward,
            inward: (0..other).map(inward).collect::<Result<_, _>>()?,
            is_proven: AtomicBool::new(false),
        })
    }

    pub(super) const fn under(&self) -> Spi {
        self.under
    }

    pub(super) const fn suite(&self) -> Suite {
        self.suite
    }

    /// What that worker seals with. There are as many as this end has said.
    pub(super) fn sender(&self, worker: usize) -> Option<MutexGuard<'_, Box<Sender<AnyCipher>>>> {
        self.outward.get(worker).map(lock)
    }

    /// What ESP of that SPI is opened with.
    pub(super) fn inward(&self, spi: Spi) -> Option<&Inward> {
        let number = spi.value().checked_sub(self.first_inward.value())?;
        self.inward.get(usize::try_from(number).ok()?)
    }

    /// The sequence number that is the farthest.
    pub(super) fn sequence(&self) -> u64 {
        self.outward.iter().map(|sender| lock(sender).sequence()).max().unwrap_or(0)
    }

    /// Something has come with it: the other end has it.
    pub(super) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Acquire)
    }

    pub(super) fn prove(&self) {
        self.is_proven.store(true, Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Number `number` of the SPIs that begin with this one.
fn nth(first: Spi, number: u8) -> Spi {
    let spi = Spi::from_wire(first.value() + u32::from(number));
    spi.unwrap_or_else(|| unreachable!("what follows the first SPI is one"))
}

/// To seal with these sequence numbers.
pub(super) fn sender(
    suite: Suite,
    spi: Spi,
    tek: &Tek,
    numbers: Range<u64>,
) -> Result<Box<Sender<AnyCipher>>, NoAes> {
    // A smaller cipher in the place of a larger one takes along what lay on the stack, which is secrets by now.
    let mut sender = tsg_sodium::on_a_clean_stack(|| -> Result<_, NoAes> {
        let cipher = AnyCipher::blank(suite)?;
        Ok(Box::new(Sender::new(spi, cipher, [0; 4], numbers.start, numbers.end)))
    })?;
    give_key(sender.key_mut(), spi, tek);
    Ok(sender)
}

/// To open with.
pub(super) fn receiver(
    suite: Suite,
    spi: Spi,
    tek: &Tek,
) -> Result<Box<Receiver<AnyCipher>>, NoAes> {
    let mut receiver = tsg_sodium::on_a_clean_stack(|| -> Result<_, NoAes> {
        Ok(Box::new(Receiver::new(spi, AnyCipher::blank(suite)?, [0; 4])))
    })?;
    give_key(receiver.key_mut(), spi, tek);
    Ok(receiver)
}

fn give_key((cipher, salt): (&mut AnyCipher, &mut [u8; 4]), spi: Spi, tek: &Tek) {
    let key = Sodium::derive(tek, spi);
    *salt = key.salt;
    cipher.set_key(&key);
}
