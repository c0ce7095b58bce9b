//! `tsg`: the gateway and its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    tsg_bridge::cli::main()
}
