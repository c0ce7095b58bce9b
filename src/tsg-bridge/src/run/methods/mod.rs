//! What can be asked of the daemon: one table for the Unix socket and for ubus. docs/ubus.md is what callers see.
//!
//! A method is a line of [`METHODS`]: its name, its parameters, and what it does. [`Run::Now`] is for what is known or
//! done at once. What may take time, such as a program that is run or a lock on a file, is [`Run::Aside`]: on a thread
//! of its own ([`aside`]), since everything else waits for the control thread.

mod answers;
mod aside;
mod flows;

pub(super) use aside::{Aside, Finished, Job, Work};

use super::control::Control;
use crate::arguments::{Arguments, Kind, Parameter, Unchecked, WrongArgument};
use crate::cli;
use crate::config::Config;
use crate::enrolment;
use crate::folders::Folders;
use crate::ports;
use crate::setup::{self, Request};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::fmt;

/// A method.
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) run: Run,
}

/// What it does.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// At once, on the control thread; the last is local time.
    Now(fn(&mut Control, &Arguments, u64) -> Result<Value>),
    /// Beside it; and what the control thread then does when that went well.
    Aside(fn(&Folders, &Arguments) -> Result<Value>, Option<fn(&mut Control)>),
    /// Beside it, knowing what `status` answers.
    AsideOf(fn(&Folders, &Value) -> Result<Value>),
}

/// All of them, in the order in which they are listed.
pub(super) const METHODS: &[Method] = &[
    Method { name: "status", parameters: &[], run: Run::Now(|it, _, now| Ok(it.described(now))) },
    Method { name: "counters", parameters: &[], run: Run::Now(answers::counts) },
    Method { name: "peers", parameters: &[], run: Run::Now(answers::peers) },
    Method { name: "policy", parameters: &[], run: Run::Now(answers::policy) },
    Method { name: "flows", parameters: &[], run: Run::Now(flows::flows) },
    Method { name: "preflight", parameters: &[], run: Run::AsideOf(cli::preflight) },
    Method {
        name: "ports",
        parameters: &[],
        run: Run::Aside(|folders, _| Ok(ports::list(folders)), None),
    },
    Method { name: "setup", parameters: &Request::PARAMETERS, run: Run::Aside(set_up, None) },
    Method {
        name: "bypass",
        parameters: &[Parameter::required("seconds", Kind::Number)],
        run: Run::Now(bypass),
    },
    Method { name: "reconnect", parameters: &[], run: Run::Now(reconnect) },
    Method { name: "reload", parameters: &[], run: Run::Now(reload) },
    Method {
        name: "enrol",
        parameters: &[Parameter::required("token", Kind::Text)],
        run: Run::Aside(enrol, Some(Control::reload_or_say)),
    },
];

/// Why a question is not answered.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is none.
    Nonsense(String),
    /// There is no such method, but these.
    UnknownMethod(String, Vec<&'static str>),
    /// An argument is missing, or of another type.
    WrongArgument(WrongArgument),
    /// It was tried.
    Failed(anyhow::Error),
}

/// The method of this name, and its arguments.
pub(super) fn find(name: &str, given: Unchecked) -> Result<(&'static Method, Arguments), Fault> {
    let method = METHODS.iter().find(|method| method.name == name);
    let names = || METHODS.iter().map(|method| method.name).collect();
    let method = method.ok_or_else(|| Fault::UnknownMethod(name.to_owned(), names()))?;
    let arguments = given.check(method.parameters).map_err(Fault::WrongArgument)?;
    Ok((method, arguments))
}

impl Fault {
    /// As an answer.
    pub(crate) fn answer(&self) -> Value {
        json!({ "ok": false, "error": self.to_string() })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nonsense(why) => f.write_str(why),
            // Not out of `METHODS`: the tunnel's program has faults, too, and none of the gateway's methods.
            Self::UnknownMethod(name, known) => {
                write!(f, "there is no method {name:?}; there are {}", known.join(", "))
            }
            Self::WrongArgument(wrong) => wrong.fmt(f),
            Self::Failed(error) => write!(f, "{error:#}"),
        }
    }
}

fn reconnect(control: &mut Control, _: &Arguments, _: u64) -> Result<Value> {
    let server = control.reconnect()?;
    Ok(json!({ "ok": true, "server": server }))
}

/// 0 ends it.
fn bypass(control: &mut Control, arguments: &Arguments, now: u64) -> Result<Value> {
    let seconds = arguments.number("seconds").and_then(|seconds| u32::try_from(seconds).ok());
    control.bypass(seconds.context("so many seconds are no time for a bypass")?, now)
}

fn reload(control: &mut Control, _: &Arguments, _: u64) -> Result<Value> {
    control.reload()?;
    Ok(json!({ "ok": true }))
}

/// Like `tsg setup`: only says what is to be changed.
fn set_up(folders: &Folders, arguments: &Arguments) -> Result<Value> {
    setup::answer(folders, &Request::from_arguments(arguments)?)
}

/// Like `tsg enrol`: what the token says goes to UCI, its secret to the next hello.
fn enrol(folders: &Folders, arguments: &Arguments) -> Result<Value> {
    let Some(token) = arguments.text("token") else { bail!("there is no token") };
    let taken = enrolment::accept(folders, token)?;
    log::info!("a token for group {:?} was handed in", taken.group);
    Config::load(&folders.config_file())
        .context("the token is taken, but the gateway cannot begin with this configuration")?;
    Ok(json!({
        "ok": true,
        "servers": taken.servers,
        "group": taken.group,
        "fingerprint": taken.public.fingerprint().to_string(),
        "expired": taken.expired,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Given;

    #[test]
    fn a_question_finds_its_method() {
        assert_eq!(find("status", Unchecked::default()).unwrap().0.name, "status");
        let fault = |name: &str, given: Given| {
            let given = Unchecked(vec![("token".to_owned(), given)]);
            find(name, given).err().map(|fault| fault.answer().to_string()).unwrap_or_default()
        };
        let unknown = fault("stat\"us", Given::Nothing);
        assert!(unknown.contains("no method \\\"stat"), "{unknown}");
        assert!(unknown.contains("status, counters, peers"), "{unknown}");
        assert!(unknown.starts_with("{\"error\":") && unknown.ends_with("\"ok\":false}"));
        assert!(fault("enrol", Given::Nothing).contains("argument token is missing"));
        assert!(fault("enrol", Given::Number(1)).contains("argument token must be a text"));
        assert_eq!(fault("status", Given::Number(1)), "");
    }

    #[test]
    fn names_are_there_once() {
        let mut names: Vec<_> = METHODS.iter().map(|method| method.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METHODS.len());
    }
}
