//! `tsg-server`: the daemon and its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    tsg_server::cli::main()
}
