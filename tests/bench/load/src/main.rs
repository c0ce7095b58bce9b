//! `load`: the bench's datagrams.
//!
//! `flood` sends as fast as it can and `sink` counts what arrives; `ping` measures round trips to
//! `echo`. Each ends with one line of JSON. Many datagrams go in one system call, so that it is the network
//! between them that is measured.
//!
//! Not for tests: nothing is checked here but the length (`plant` does that).

mod flood;
mod ping;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send datagrams as fast as possible
    Flood {
        /// Address and port of the sink
        #[arg(long)]
        connect: SocketAddr,
        /// Bytes of each IPv4 packet
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(40..=1500))]
        size: u16,
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Count what arrives until a second passes without
    Sink {
        #[arg(long)]
        bind: SocketAddr,
    },
    /// Measure round trips to an echo, one after the other
    Ping {
        /// Address and port of the echo
        #[arg(long)]
        connect: SocketAddr,
        /// Round trips a second
        #[arg(long, default_value_t = 1000.0)]
        rate: f64,
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Send every datagram back
    Echo {
        #[arg(long)]
        bind: SocketAddr,
    },
}

fn main() -> Result<()> {
    let line = match Cli::parse().command {
        Command::Flood { connect, size, seconds } => {
            flood::send(connect, usize::from(size), Duration::from_secs_f64(seconds))?
        }
        Command::Sink { bind } => flood::count(bind)?,
        Command::Ping { connect, rate, seconds } => {
            ping::measure(connect, rate, Duration::from_secs_f64(seconds))?
        }
        Command::Echo { bind } => return ping::echo(bind),
    };
    say(&line);
    Ok(())
}

/// Prints a line at once: the bench reads it from a pipe.
#[expect(clippy::print_stdout, reason = "it is for the reader")]
fn say(line: &serde_json::Value) {
    println!("{line}");
}
