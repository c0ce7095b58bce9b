//! `plant`: the machines of the lab.
//!
//! A PLC (`modbus-server`), an HMI that polls it (`modbus-poll`), and the same pair for a
//! datagram protocol (`udp-server`, `udp-poll`). The pollers check every answer and end with one
//! line of JSON, so that a test reads what the machines saw and not what the gateways claim.
//!
//! Not for load generation: a poller sends at the rate of an HMI, from one thread.

mod clock;
mod modbus;
mod report;
mod schedule;
mod udp;

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::schedule::Schedule;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer Modbus/TCP reads of holding and input registers
    ModbusServer {
        /// Address and port to listen on
        #[arg(long, default_value = "[::]:502")]
        bind: SocketAddr,
    },
    /// Poll a Modbus/TCP server over one connection and check what it answers
    ModbusPoll {
        /// Address and port of the server
        #[arg(long)]
        connect: SocketAddr,
        /// Registers to read with each poll
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=125))]
        registers: u16,
        #[command(flatten)]
        pace: Pace,
    },
    /// Send every datagram back to where it came from
    UdpServer {
        /// Address and port to listen on
        #[arg(long, default_value = "[::]:20000")]
        bind: SocketAddr,
        /// Multicast groups to join
        #[arg(long)]
        join: Vec<IpAddr>,
    },
    /// Send numbered datagrams and check their echo
    UdpPoll {
        /// Address and port of the server; may be a multicast group
        #[arg(long)]
        connect: SocketAddr,
        /// Payload of each datagram, bytes
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(16..))]
        size: u16,
        /// Answers that each datagram must get (more than one with multicast)
        #[arg(long, default_value_t = 1)]
        answers: u16,
        #[command(flatten)]
        pace: Pace,
    },
}

/// How often, for how long, and how patient.
#[derive(Args)]
struct Pace {
    /// Polls a second
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Length of the run; without it, until SIGTERM or SIGINT
    #[arg(long)]
    seconds: Option<f64>,
    /// Milliseconds after which a poll counts as lost
    #[arg(long, default_value_t = 1000)]
    timeout: u64,
    /// Print the numbers so far every so many milliseconds (and at each SIGUSR1)
    #[arg(long)]
    progress: Option<u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Cli::parse().command {
        Command::ModbusServer { bind } => modbus::serve(bind).await,
        Command::ModbusPoll { connect, registers, pace } => {
            modbus::poll(connect, registers, schedule(&pace)?).await
        }
        Command::UdpServer { bind, join } => udp::serve(bind, &join).await,
        Command::UdpPoll { connect, size, answers, pace } => {
            udp::poll(connect, usize::from(size), answers, schedule(&pace)?).await
        }
    }
}

fn schedule(pace: &Pace) -> Result<Schedule> {
    Schedule::new(pace.rate, pace.seconds, pace.timeout, pace.progress)
        .context("--rate, --seconds, --timeout or --progress")
}
