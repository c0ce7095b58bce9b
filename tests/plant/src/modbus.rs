//! Modbus/TCP: a server whose registers a poller can predict, and the poller.
//!
//! The register at an address always holds [`register`] of that address, so an answer that was
//! mixed up, cut or altered on the way is seen.

use std::{future, net::SocketAddr, time::Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::{net::TcpListener, net::TcpStream, time::timeout};
use tokio_modbus::{
    client::{Context, Reader, tcp},
    prelude::{ExceptionCode, Request, Response},
    server::{Service, tcp::Server},
};

use crate::{
    report::{Tally, print_line},
    schedule::{Event, Schedule},
};

const KIND: &str = "modbus";

#[derive(Serialize)]
struct Listening {
    listening: SocketAddr,
}

/// Answers until it is killed. Says on standard output when it listens.
pub(crate) async fn serve(bind: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(bind).await.with_context(|| format!("--bind {bind}"))?;
    print_line(&Listening { listening: listener.local_addr()? })?;
    let on_connected = |stream: TcpStream, _peer| async move {
        stream.set_nodelay(true)?;
        Ok(Some((Plc, stream)))
    };
    Server::new(listener).serve(&on_connected, |_reset_by_peer| {}).await?;
    Ok(())
}

/// Polls until the schedule ends, then prints the numbers.
pub(crate) async fn poll(target: SocketAddr, count: u16, mut schedule: Schedule) -> Result<()> {
    let name = target.to_string();
    let mut tally = Tally::default();
    let mut link = Link { target, context: None, connected_before: false };
    loop {
        match schedule.next().await {
            Event::Stop => break,
            Event::Report => tally.print(KIND, &name, false)?,
            Event::Poll => {
                let address = (tally.sent.wrapping_mul(17) % 60_000) as u16;
                tally.sent += 1;
                let asked = Instant::now();
                let answer = timeout(schedule.timeout, link.read(address, count, &mut tally)).await;
                match answer {
                    Ok(Ok(words)) if is_right(&words, address, count) => {
                        tally.answer(target.ip(), asked.elapsed());
                    }
                    Ok(Ok(_)) => tally.wrong += 1,
                    Ok(Err(error)) => {
                        link.context = None;
                        tally.lose(format!("{error:#}"));
                    }
                    Err(_elapsed) => {
                        link.context = None;
                        tally.lose("no answer in time");
                    }
                }
            }
        }
    }
    tally.print(KIND, &name, true)
}

/// What the register at `address` holds.
fn register(address: u16) -> u16 {
    address.wrapping_mul(40_503) ^ 0x5453
}

fn registers(address: u16, count: u16) -> Option<Vec<u16>> {
    let end = address.checked_add(count)?;
    Some((address..end).map(register).collect())
}

fn is_right(words: &[u16], address: u16, count: u16) -> bool {
    registers(address, count).is_some_and(|expected| expected == words)
}

/// The poller's one connection, made again when it broke.
struct Link {
    target: SocketAddr,
    context: Option<Context>,
    connected_before: bool,
}

impl Link {
    async fn read(&mut self, address: u16, count: u16, tally: &mut Tally) -> Result<Vec<u16>> {
        let context = match self.context.take() {
            Some(context) => self.context.insert(context),
            None => {
                tally.reconnects += u64::from(self.connected_before);
                let stream = TcpStream::connect(self.target).await.context("connect")?;
                stream.set_nodelay(true)?;
                self.connected_before = true;
                self.context.insert(tcp::attach(stream))
            }
        };
        let words = context.read_holding_registers(address, count).await??;
        Ok(words)
    }
}

/// The device: every register readable, nothing else.
struct Plc;

impl Service for Plc {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = future::Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        let answer = if let Request::ReadHoldingRegisters(address, count) = request {
            registers(address, count).map(Response::ReadHoldingRegisters)
        } else if let Request::ReadInputRegisters(address, count) = request {
            registers(address, count).map(Response::ReadInputRegisters)
        } else {
            return future::ready(Err(ExceptionCode::IllegalFunction));
        };
        future::ready(answer.ok_or(ExceptionCode::IllegalDataAddress))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_for_another_address_is_wrong() {
        let words = registers(100, 10).unwrap();
        assert!(is_right(&words, 100, 10));
        assert!(!is_right(&words, 101, 10));
        assert!(!is_right(&words[..9], 100, 10));
    }

    #[test]
    fn registers_end_with_the_address_space() {
        assert_eq!(registers(65_530, 10), None);
        assert_eq!(registers(65_530, 5).unwrap().len(), 5);
    }
}
