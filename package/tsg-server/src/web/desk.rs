//! Where the pages and the API have operations carried out.

use crate::accounts::Role;
use crate::operations::{Answer, Operation, Operator, Refusal, RefusalKind};
use crate::orders::{self, Letterbox, Order, Reply};
use std::net::IpAddr;
use tokio::sync::oneshot;

/// The way to the main thread.
pub(super) struct Desk(Letterbox);

/// Whoever asks: somebody who signed in, or a program with a token.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) role: Role,
    pub(super) operator: Operator,
}

impl Caller {
    pub(super) fn user(name: &str, role: Role, from: IpAddr) -> Self {
        Self { role, operator: Operator::user(name, from) }
    }
}

impl Desk {
    pub(super) const fn new(letterbox: Letterbox) -> Self {
        Self(letterbox)
    }

    /// Has it carried out, if the caller may ask for it.
    pub(super) async fn ask(
        &self,
        caller: &Caller,
        operation: Operation,
    ) -> Result<Answer, Refusal> {
        if !caller.role.may(&operation) {
            let forbidden = forbidden(&operation);
            log::info!("{}: refused: {forbidden}", caller.operator.0);
            return Err(Refusal::new(RefusalKind::Forbidden, forbidden));
        }
        self.carry_out(caller.operator.clone(), operation).await
    }

    /// Has it carried out, whoever asks: for what needs no role, such as one's own password.
    pub(super) async fn carry_out(
        &self,
        operator: Operator,
        operation: Operation,
    ) -> Result<Answer, Refusal> {
        let (sender, answer) = oneshot::channel();
        let reply = Reply::to(move |outcome| {
            // Whoever closed the page does not want to know.
            let _ = sender.send(outcome);
        });
        self.0.hand_in(Order { operation, operator, reply })?;
        answer.await.unwrap_or_else(|_| Err(orders::ending()))
    }
}

fn forbidden(operation: &Operation) -> String {
    match crate::accounts::needed(operation) {
        Some(role) => format!("this takes the role {}", role.name()),
        None => "only root on the server's own machine may do this".to_owned(),
    }
}

/// The part of an answer that was asked for.
macro_rules! answer {
    ($answer:expr, $kind:ident) => {
        match $answer {
            $crate::operations::Answer::$kind(value) => Ok(value),
            _ => Err($crate::operations::Refusal::new(
                $crate::operations::RefusalKind::Unavailable,
                "the key server answered something else",
            )),
        }
    };
}
pub(super) use answer;
