//! Where the daemon is asked: the Unix socket and ubus. They stay when the gateway begins anew in place.

use super::control::Control;
use super::methods::{self, Aside, Fault, Finished, METHODS, Method, Work};
use super::status_socket::{Client, StatusSocket};
use crate::arguments::Arguments;
use crate::boottime;
use crate::folders::Folders;
use crate::ubus::{Bus, Caller, Choice, Refusal};
use anyhow::Result;
use serde_json::Value;
use std::os::fd::RawFd;

/// Whoever waits for an answer.
pub(super) enum Asker {
    Socket(Client),
    Bus(Caller),
    #[cfg(test)]
    Nobody,
}

/// What is asked, or why it is no question.
pub(super) type Question = Result<(&'static Method, Arguments), Fault>;

pub(super) struct Doors {
    folders: Folders,
    socket: Option<StatusSocket>,
    bus: Bus,
    aside: Aside,
    started: u64,
}

impl Doors {
    pub(super) fn new(folders: &Folders, choice: &Choice) -> Result<Self> {
        let methods = METHODS.iter().map(|method| (method.name, method.parameters));
        Ok(Self {
            folders: folders.clone(),
            socket: None,
            bus: Bus::new(choice, &folders.run, methods),
            aside: Aside::new(folders)?,
            started: boottime::now(),
        })
    }

    /// Opens what is not open yet. Whoever calls this holds the lock of the run folder.
    pub(super) fn open(&mut self) -> Result<()> {
        if self.socket.is_none() {
            self.socket = Some(StatusSocket::open(&self.folders.socket())?);
        }
        Ok(())
    }

    /// When the daemon was started, local time.
    pub(super) const fn started(&self) -> u64 {
        self.started
    }

    /// What to wait for: descriptors, and whether there is to be room to write rather than something to read.
    pub(super) fn descriptors(&self, now: u64) -> impl Iterator<Item = (RawFd, bool)> {
        let socket = self.socket.iter().flat_map(move |socket| socket.descriptors(now));
        let aside = (self.aside.descriptor(), false);
        socket.chain(self.bus.descriptor()).chain([aside])
    }

    /// A question was read already and waits for its turn.
    pub(super) fn is_asked(&self) -> bool {
        self.socket.as_ref().is_some_and(StatusSocket::is_asked) || self.bus.is_asked()
    }

    /// When to look even if nothing happens.
    pub(super) fn due(&self) -> Option<u64> {
        self.bus.due()
    }

    /// What is asked now: one question of each who asks.
    pub(super) fn questions(&mut self, now: u64) -> Vec<(Asker, Question)> {
        let socket = self.socket.iter_mut().flat_map(|socket| socket.questions(now));
        let socket = socket.map(|(client, question)| {
            let question = question.and_then(|(method, given)| methods::find(&method, given));
            (Asker::Socket(client), question)
        });
        let bus = self
            .bus
            .turn(now)
            .map(|call| (Asker::Bus(call.caller), methods::find(&call.method, call.arguments)));
        socket.chain(bus).collect()
    }

    /// Lets a method that may take time begin.
    pub(super) fn put_aside(
        &mut self,
        asker: Asker,
        work: Work,
        then: Option<fn(&mut Control)>,
        now: u64,
    ) {
        let begun = self.aside.begin(methods::Job { asker, work, then });
        if let Err((asker, fault)) = begun {
            self.answer(asker, Err(fault), now);
        }
    }

    /// What came of those.
    pub(super) fn finished(&mut self) -> Vec<Finished> {
        self.aside.finished()
    }

    pub(super) fn answer(&mut self, asker: Asker, answer: Result<Value, Fault>, now: u64) {
        match asker {
            Asker::Socket(client) => {
                let answer = answer.unwrap_or_else(|fault| fault.answer());
                if let Some(socket) = &mut self.socket {
                    socket.answer(client, &answer);
                }
            }
            Asker::Bus(caller) => match answer {
                Ok(answer) => self.bus.answer(caller, Ok(&answer), now),
                Err(Fault::UnknownMethod(..)) => {
                    self.bus.answer(caller, Err(Refusal::UnknownMethod), now);
                }
                Err(Fault::WrongArgument(_) | Fault::Nonsense(_)) => {
                    self.bus.answer(caller, Err(Refusal::WrongArgument), now);
                }
                Err(fault @ Fault::Failed(_)) => {
                    self.bus.answer(caller, Ok(&fault.answer()), now);
                }
            },
            #[cfg(test)]
            Asker::Nobody => {}
        }
    }

    /// Tells whoever listens on ubus; `false` if that is not possible now.
    pub(super) fn notify(&mut self, what: &str, content: &Value, now: u64) -> bool {
        self.bus.notify(what, content, now)
    }
}
